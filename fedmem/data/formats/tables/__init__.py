"""Tables as people have them: a file of any format to batches of rows, its unreadable rows noted."""
