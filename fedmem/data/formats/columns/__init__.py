"""Columns of a batch: which are read as what, and their values as ids, times, numbers, and what counts as liked."""
