"""What benchmarks share."""

import subprocess

from benchmarks.measure import FEDMEM


def test_the_command_line_that_benchmarks_start_is_there():
    done = subprocess.run([*FEDMEM, "--version"], capture_output=True, text=True, check=True)
    assert "fedmem" in done.stdout.lower()
