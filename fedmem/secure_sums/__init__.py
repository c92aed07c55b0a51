"""Secure sums: what many clients send, added up so that the server reads the sum and no client's part of it.

The masked arithmetic of SecAgg+ (Bonawitz et al., CCS 2017; Bell et al., CCS 2020): numbers in fixed point, whole
numbers that wrap around, a mask of each client's own and one that it shares with each of its neighbours, which cancel;
and shares of what takes masks off, held by neighbours, so that clients may drop out. Keys come from X25519, masks from
AES in counter mode, both of ``cryptography``; the simulation draws the secrets from the run's seed.
"""
