#!/bin/sh
# The long runs on a GPU: the metrics of a CPU beside them, and the minutes of 500 rounds on ML-1M.
#
#     benchmarks/gpu.sh --data data/ml-1m-sasrec --items data/ml-1m/movies.dat [--out runs/gpu] [--keep]
#
# Ends with a message where there is no GPU. What it does: benchmarks/gpu.py. PYTHON names another interpreter.
set -eu
cd "$(dirname "$0")/.."
exec "${PYTHON:-python}" -m benchmarks.gpu "$@"
