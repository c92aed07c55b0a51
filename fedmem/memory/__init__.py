"""Local dynamic memory, its utility, and the prototypes distilled from it."""
