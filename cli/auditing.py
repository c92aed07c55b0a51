"""``fedmem audit``: the ledger of what a job's clients and server have sent each other."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from cli.jobs import JobId, job_store
from cli.options import AsJson, DatabaseUrl
from cli.screen import answer_json, answers

if TYPE_CHECKING:
    from fedmem.storage.metrics import RoundRow

PARTS = ("weights", "prototypes")


def audit(job: JobId, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show the ledger of what a job's clients and server have sent each other."""
    from fedmem.storage.metrics import MetricStore

    with job_store(database_url) as jobs:
        row = jobs.get(job)
        found = ledger(MetricStore(jobs.engine).rounds(job, splits=["train"]))
    if as_json:
        answer_json({"job": row.id, "dataset": row.dataset, **found})
        return
    table = Table(
        title=f"job {row.id} on {row.dataset}: {found['rounds']} rounds, {found['participations']:,} participations"
    )
    for name in ("", "MB in all", "KB per client and round"):
        table.add_column(name, justify="right" if name else "left")
    for direction, words in (("down", "server to clients"), ("up", "clients to server")):
        for part in PARTS:
            total = found["bytes"][direction][part]
            per_client = total / found["participations"] if found["participations"] else 0.0
            table.add_row(f"{words}: {part}", f"{total / 1e6:,.2f}", f"{per_client / 1e3:,.2f}")
    answers.print(table)
    answers.print("crossed: parameters and their changes, prototypes as sums and counts, sums of metrics")
    answers.print("never crossed: interactions, item ids, a client's memory")
    answers.print(
        "spent: no privacy budget, as nothing is clipped or noised; updates and prototypes leak what they leak"
    )


def ledger(rounds: "Sequence[RoundRow]") -> dict[str, Any]:
    """Sum, over a job's rounds, what its clients received and sent, counted on the serialized messages."""
    of_rounds = [row.metrics.get("train", {}) for row in rounds]
    counted: list[Mapping[str, float]] = [metrics for metrics in of_rounds if "clients" in metrics]
    return {
        "rounds": len(counted),
        "participations": int(sum(metrics["clients"] for metrics in counted)),
        "bytes": {
            direction: {
                part: int(sum(metrics["clients"] * metrics[f"bytes_{direction}_{part}"] for metrics in counted))
                for part in PARTS
            }
            for direction in ("down", "up")
        },
        "epsilon": None,
    }
