"""The backend's log: a line a request, and whatever else there is to say, once."""

import logging
from collections.abc import Hashable

from fedmem.logs import EXTRA
from fedmem.said_once import SaidOnce

ACCESS = logging.getLogger("backend.access")
REFUSED = (401, 403, 408, 413, 429)


class SaidToCallers(SaidOnce):
    """Counts as the same what a caller can cause as often as it likes, refused requests too: it must not fill the disk.

    Answers are logged one by one, however many.
    """

    def same(self, record: logging.LogRecord) -> Hashable | None:
        """Return what equal records have in common, whatever they name."""
        fields = getattr(record, EXTRA, {})
        if record.levelno < logging.WARNING and fields.get("status") not in REFUSED:
            return None
        kind = record.exc_info[0] if record.exc_info else None
        return record.name, record.msg, kind, fields.get("route"), fields.get("status")

    def tell(self, record: logging.LogRecord, left_out: int) -> None:
        """Add to a record how many like it were left out before."""
        setattr(record, EXTRA, getattr(record, EXTRA, {}) | {"left_out_before": left_out})
