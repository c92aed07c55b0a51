"""The recommender: sequence model, preference experts, fusion and losses."""
