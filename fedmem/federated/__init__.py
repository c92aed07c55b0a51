"""Rounds: what crosses between client and server, what each does, and the simulation that holds both."""
