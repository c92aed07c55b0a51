"""Which source, and when: what results and runs say of where they come from."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path


def source_commit() -> str | None:
    """Return the commit of this source, with ``+changes`` if files differ from it; None outside a git checkout."""
    try:
        # The second name fails if the source lies untracked in another project's checkout.
        found = _git("rev-parse", "HEAD", "HEAD:./provenance.py")
        changed = _git("diff", "--quiet", "HEAD", "--", ".").returncode != 0
    except OSError:  # no git
        return None
    if found.returncode:
        return None
    return f"{found.stdout.split()[0]}{'+changes' if changed else ''}"


def _git(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)


def now() -> str:
    """Write the present time as ISO 8601, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
