"""Alembic migrations: the only creator of tables."""
