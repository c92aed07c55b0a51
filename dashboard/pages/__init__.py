"""The pages, each a script that the navigation runs."""
