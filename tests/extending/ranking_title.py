"""A program: write how the dashboard calls the metric of its argument."""

import sys

from dashboard.words import ranking_title

if __name__ == "__main__":
    sys.stdout.write(ranking_title(sys.argv[1]))
