"""A model that goes on with newer data than it was trained on."""

from fedmem.continuation.carried import Carried, carried_over, refuse_budgets

__all__ = ["Carried", "carried_over", "refuse_budgets"]
