"""Charts: pure functions from what the API answers to a specification and its rows."""
