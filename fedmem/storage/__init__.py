"""Jobs, metrics, models and the catalogue in SQL. Every table is defined in ``schema``; tensors are unknown here."""
