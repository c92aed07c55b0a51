"""What runs inside Flower, in an environment of its own: the app of the server's side, and that of a node."""
