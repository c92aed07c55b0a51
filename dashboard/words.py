"""How things are called on the screen: metrics with their units, states, settings."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from fedmem.contracts import Job, Rate
from fedmem.evaluation.ranking_metrics import RANKING_METRICS
from fedmem.modality import Modality
from fedmem.rungs import model_title

DIGEST = 10  # letters of a digest that are shown
EXPERTS = {f"gate_{modality}": modality.label for modality in Modality}
PHASES = {
    "seconds_train": "Training on clients",
    "seconds_aggregate": "Aggregation",
    "seconds_evaluate": "Validation",
    "seconds_write": "Writing the checkpoint",
}


def ranking_title(metric: str) -> str:
    """Say what a metric such as HR@10 measures, with the unit; return the bare name of an unknown one."""
    name, _, k = metric.partition("@")
    return RANKING_METRICS[name].title.format(k=k) if name in RANKING_METRICS else metric


def job_name(job: Job) -> str:
    """Name a job by its number and the kind of run that it is."""
    return f"Job {job.id} · {model_title(job.config)}"


def as_sentence(text: object) -> str:
    """Begin with a capital what stands alone, though it is said after a name elsewhere."""
    said = str(text)
    return said[:1].upper() + said[1:]


def job_label(job: Job) -> str:
    """Name a job and its data set."""
    return f"{job_name(job)}, {job.dataset}"


def state_of(job: Job) -> str:
    """Say what a job does in the API's words, or what it is about to do."""
    if job.state == "running" and job.desired_state != "running":
        return {"paused": "pausing", "stopped": "stopping"}[job.desired_state]
    return job.state


def is_under_way(job: Job) -> bool:
    """Say whether there will be news of it."""
    return job.state in ("queued", "running", "paused")


def first_validation(job: Job) -> str:
    """Say when there will be something to see, or that there will not."""
    every = job.config.evaluation.eval_every
    if job.phase == "preparing":
        return (
            "Its data is read and its texts are encoded before the first round, which takes minutes where they are "
            f"many; the log on the System page says how far that is. The first validation follows round {every}."
        )
    if is_under_way(job):
        return f"The first validation follows round {every}."
    return f"The job ended before a validation: the first would have followed round {every}."


def item_kind(title: str, genres: Sequence[str], year: int | None) -> str:
    """Name an item's genres, and its year unless the title does: Drama, 1997."""
    told = year is None or str(year) in title
    return ", ".join([*genres, *([] if told else [str(year)])])


def duration(seconds: float) -> str:
    """Write seconds as a person would say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 129_600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} days"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Say how long ago a moment was; not by the second, which would change with every look."""
    elapsed = (now or datetime.now(UTC)) - moment
    return "just now" if elapsed < timedelta(seconds=90) else f"{duration(elapsed.total_seconds())} ago"


def share(value: float) -> str:
    """Write a number between 0 and 1, or one below 0 that noise has made, as the field writes it: .464, −.029."""
    return ("−" if round(value, 3) < 0 else "") + f"{abs(value):.3f}".removeprefix("0")


def difference(value: float) -> str:
    """Write how much more or less a share is than another: +.030, −.029."""
    return ("+" if round(value, 3) > 0 else "") + share(value)


def counted(count: int, rate: Rate | None) -> str:
    """Write a count with the share that it is and its interval: 12 (.120, .070 to .198); – of nothing."""
    return "–" if rate is None else f"{count:,} ({share(rate.value)}, {share(rate.low)} to {share(rate.high)})"


def with_error(table: Mapping[str, float], metric: str) -> str:
    """Write a metric with its standard error, if it has one: .464 ± .012."""
    if metric not in table:
        return "–"
    error = table.get(f"{metric}_se")
    return share(table[metric]) + ("" if error is None else f" ± {share(error)}")


def size(count: float) -> str:
    """Write bytes in the unit that reads best; 1 KB is 1,000 bytes."""
    return sizes([count])[0]


def sizes(counts: Sequence[float]) -> list[str]:
    """Write bytes that stand below each other in one unit, that which the greatest reads best in."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if max(counts, default=0.0) >= scale:
            return [_in_unit(count / scale, unit) for count in counts]
    return [f"{count:.0f} bytes" for count in counts]


def _in_unit(count: float, unit: str) -> str:
    if not count:
        return "0"
    return f"{count:,.1f} {unit}" if count >= 0.05 else f"< 0.1 {unit}"


def shown_value(name: str, value: object) -> str:
    """Write a value in which jobs differ; of a snapshot, the beginning of its digest."""
    if value is None:
        return "–"
    return str(value)[:DIGEST] if name == "snapshot" else str(value)
