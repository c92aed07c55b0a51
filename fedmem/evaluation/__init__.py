"""How good a ranking is: metrics, full-ranking evaluation, baselines, cold start, tables."""
