"""A model that goes on with newer data than it was trained on."""

from fedmem.continuation.carried import CarriedState, carried_over

__all__ = ["CarriedState", "carried_over"]
