"""``fedmem audit``: the ledger of what a job's clients and server have sent each other."""

from typing import TYPE_CHECKING, Any

from rich.table import Table

from cli.jobs import JobId, job_store
from cli.options import AsJson, DatabaseUrl
from cli.screen import answer_json, answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmem.storage.metrics import RoundRow

CROSSED = (
    "crossed: parameters and their changes, prototypes as sums and counts, transitions in sums over a round's clients, "
    "sums of metrics",
    "never crossed: a client's history, an entry of its memory",
    "a table of transitions may hold rare pairs of items, which a single client gave",
    "spent: no privacy budget, as nothing is clipped or noised: whatever crosses may leak",
)


def audit(job: JobId, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show the ledger of what a job's clients and server have sent each other."""
    from fedmem.storage.metrics import MetricStore

    with job_store(database_url) as jobs:
        row = jobs.get(job)
        found = ledger(MetricStore(jobs.engine).rounds(job, splits=["train", "validation"]))
    if as_json:
        answer_json({"job": row.id, "dataset": row.dataset, **found})
        return
    answers.print(_table(f"job {row.id} on {row.dataset}", found))
    for sentence in CROSSED:
        answers.print(sentence)


def _table(job: str, found: dict[str, Any]) -> Table:
    table = Table(title=f"{job}: {found['rounds']} rounds, {found['participations']:,} participations")
    for name in ("", "MB in all", "KB per client and round"):
        table.add_column(name, justify="right" if name else "left")
    for direction, words in (("down", "server to clients"), ("up", "clients to server")):
        for part, total in found["bytes"][direction].items():
            validates = (direction, part) == ("down", "transitions")
            clients = found["validations" if validates else "participations"]
            per_client = total / clients if clients else 0.0
            name = f"{words}{' that validate' if validates else ''}: {part}"
            table.add_row(name, f"{total / 1e6:,.2f}", f"{per_client / 1e3:,.2f}")
    return table


def ledger(rounds: "Sequence[RoundRow]") -> dict[str, Any]:
    """Sum, over a job's rounds, what its clients received and sent, counted on the serialized messages.

    A client that trains in a round is a participation, one that gets a table of transitions to validate a validation.
    """
    from fedmem.contracts.traffic import DIRECTIONS, PARTS, bytes_sent, parties

    counted = [row.metrics for row in rounds if "clients" in row.metrics.get("train", {})]
    return {
        "rounds": len(counted),
        "participations": int(sum(parties(metrics, "up", "weights") for metrics in counted)),
        "validations": int(sum(parties(metrics, "down", "transitions") for metrics in counted)),
        "bytes": {
            direction: {part: int(sum(bytes_sent(metrics, direction, part) for metrics in counted)) for part in PARTS}
            for direction in DIRECTIONS
        },
        "epsilon": None,
    }
