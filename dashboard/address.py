"""What a page reads of its address, which a reader may have typed."""

import re

_WHOLE = re.compile(r"[0-9]{1,15}")  # as far as every program that reads JSON tells whole numbers apart


def whole_number(given: str) -> int | None:
    """Read a number; None for what is none."""
    return int(given) if _WHOLE.fullmatch(given) else None
