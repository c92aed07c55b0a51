"""Differential privacy for a user: how much noise a budget asks for, and how what is released is read through it."""
