"""The trainer service: claims jobs, runs their rounds, writes checkpoints and metrics."""
