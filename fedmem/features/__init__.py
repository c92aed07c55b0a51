"""Frozen features of items and users: text, image and preference texts, cached on disk by content hash."""
