"""Files into a data set of the database: for the command line, and uploaded ones for the API and its dashboard.

``writing`` is what both do. An uploaded file lies in a folder of ``uploads``, and ``__main__`` is the process that does
what ``task`` says about it, so that no answer waits for a large file, and none is lost with one that takes all memory.
"""
