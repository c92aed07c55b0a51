"""When something is due again and again: a cron expression in a time zone.

Changes of the clock are as Debian's cron has them: what is due in an hour that is left out is due right after it, and
what is due in an hour that comes twice is due once; what is due every hour or oftener goes on as it is.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from fedmem.errors import ConfigError

FIELDS = 5


def next_due(cron: str, timezone: str, after: float) -> float | None:
    """Return the first time after another at which something is due, both in seconds since 1970; None for never.

    Raises:
        ConfigError: if it is no cron expression of five fields, or no such time zone is known.
    """
    begin = datetime.fromtimestamp(after, _zone(timezone))
    try:
        return next(_parsed(cron, begin)).timestamp()
    except StopIteration:
        return None


def check_recurrence(cron: str, timezone: str) -> None:
    """Refuse what is no recurrence, or is never due.

    Raises:
        ConfigError: naming what is wrong.
    """
    if next_due(cron, timezone, 0.0) is None:
        raise ConfigError(f"cron {cron!r} names a day that does not come, such as 31 February: nothing would be done")


def _parsed(cron: str, begin: datetime) -> CronSim:
    fields = len(cron.split())
    if fields != FIELDS:
        raise ConfigError(f"cron {cron!r} has {fields} fields; {_FORM}")
    try:
        return CronSim(cron, begin)
    except CronSimError as error:
        raise ConfigError(f"cron {cron!r}: {str(error).lower()}; {_FORM}") from None


_FORM = (
    "write five: minute, hour, day of the month, month, day of the week, such as '0 3 * * *' for every night at 3:00"
)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ConfigError(f"there is no time zone {name!r}; write one such as UTC or Europe/Berlin") from None
