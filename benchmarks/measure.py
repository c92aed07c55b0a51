"""CPU time of several sides in one interleaved run, and the record of the machine it ran on."""

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from fedmem.provenance import source_commit

RESULTS = Path(__file__).parent / "results"
FEDMEM = [sys.executable, "-m", "cli"]  # this checkout's command line
SGEMM_SIZE = 1024

Seconds = dict[str, list[float]]


def interleaved(sides: Mapping[str, Callable[[], object]], repetitions: int) -> Seconds:
    """Measure CPU seconds of each side, turn by turn; the first turn of each warms up and is left out."""
    seconds: Seconds = {name: [] for name in sides}
    for turn in range(repetitions + 1):
        for name, side in sides.items():
            began = time.process_time()
            side()
            if turn:
                seconds[name].append(time.process_time() - began)
    return seconds


def ratio(seconds: Seconds, side: str, peer: str) -> float:
    """Return the ratio of the medians."""
    return statistics.median(seconds[side]) / statistics.median(seconds[peer])


def sgemm() -> Callable[[], object]:
    """Return the product of two float32 matrices of 1024 × 1024, ``SGEMM_GFLOP`` of arithmetic, as a function."""
    a, b, product = torch.ones(3, SGEMM_SIZE, SGEMM_SIZE)
    return lambda: torch.mm(a, b, out=product)  # no new memory, which would slow the yardstick down


SGEMM_GFLOP = 2 * SGEMM_SIZE**3 / 1e9


def machine() -> dict[str, Any]:
    """Describe what the figures were measured on, and with which source."""
    return {
        "date": str(datetime.date.today()),
        "commit": source_commit(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__.partition("+")[0],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def write_result(name: str, record: Mapping[str, Any]) -> Path:
    """Keep a record in benchmarks/results."""
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def keeping_parser(name: str, described: str | None) -> argparse.ArgumentParser:
    """Make a benchmark's parser of arguments, of its docstring, with ``--keep``."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=described, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help=f"write benchmarks/results/{name}.json too")
    return parser


def tell(name: str, record: Mapping[str, Any], keep: bool) -> None:
    """Print a record as JSON, and keep it if asked."""
    if keep:
        write_result(name, record)
    sys.stdout.write(json.dumps(record) + "\n")
