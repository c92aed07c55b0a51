"""Jobs, metrics, models and the catalogue in SQL. Every table stands in ``schema``; no tensor is known here."""
