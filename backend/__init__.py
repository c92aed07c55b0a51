"""The HTTP backend: recommendations from a trained run."""
