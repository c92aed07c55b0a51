"""Clients on other owners' machines: what a node does, what the server's side knows of it, and the engine between."""
