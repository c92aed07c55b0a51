"""Attacks on what crosses between client and server: how much of a history, a memory or a membership it gives away.

Each attack is a function of recorded messages and of public knowledge, the catalogue and the broadcast; what the
clients really hold is looked at only to judge it. ``measure_leaks`` runs all of them on a trained run.
"""

from fedmem.attacks.leaks import measure_leaks

__all__ = ["measure_leaks"]
