"""Speed and memory, as ratios against a named peer; results are kept in results/."""
