"""An installation's database and files as one consistent folder, and an installation made of it again."""
