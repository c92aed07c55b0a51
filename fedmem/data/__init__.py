"""Interactions on disk to one data set of clients: readers, vocabulary, leave-one-out, negatives, segments."""
