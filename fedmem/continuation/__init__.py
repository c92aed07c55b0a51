"""A model that goes on with newer data than it was trained on."""

from fedmem.continuation.carried import Carried, carried_over

__all__ = ["Carried", "carried_over"]
