"""``fedmem jobs`` and ``fedmem audit``: the jobs in the database, and the ledger of what each has sent."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.table import Table

from cli.screen import answer_json, answers, notes
from fedmem.config import ExperimentConfig
from fedmem.contracts.jobs import JobKind
from fedmem.storage.engine import DEFAULT_URL, check_schema, connect, require
from fedmem.storage.jobs import JobRow, JobStore
from fedmem.storage.metrics import MetricStore, RoundRow

PARTS = ("weights", "prototypes")


@contextmanager
def job_store(url: str | None) -> Iterator[JobStore]:
    """The jobs of a database; ``StorageError`` where it is at another schema."""
    require(url or DEFAULT_URL)
    engine = connect(url or DEFAULT_URL)
    try:
        check_schema(engine)
        yield JobStore(engine)
    finally:
        engine.dispose()


def show_jobs(url: str | None, *, as_json: bool) -> None:
    """The newest jobs, newest first."""
    with job_store(url) as jobs:
        rows = jobs.page()
    if as_json:
        answer_json([summary(row) for row in rows])
        return
    if not rows:
        notes.print("no jobs yet: queue one with fedmem jobs start --dataset NAME")
        return
    table = Table()
    for name in ("job", "kind", "data set", "state", "round", "best", "model"):
        table.add_column(name, no_wrap=name not in ("data set", "model"), overflow="fold")
    for row in rows:
        rounds, best = f"{row.round}/{row.num_rounds}", str(row.best_round or "")
        table.add_row(str(row.id), row.kind, row.dataset, state_of(row), rounds, best, row.model_version or "")
    answers.print(table)


def state_of(row: JobRow) -> str:
    """What the job does and, where its trainer has not heard of it yet, what its user wants."""
    waits = row.state == "running" and row.desired_state != "running"
    return f"{row.state}, to be {row.desired_state}" if waits else row.state


def show_job(url: str | None, job_id: int, *, as_json: bool) -> None:
    """One job, with its message and, where it failed, its traceback."""
    with job_store(url) as jobs:
        row = jobs.get(job_id)
    if as_json:
        answer_json(summary(row) | {"config": row.config, "traceback": row.traceback})
        return
    for name, value in summary(row).items():
        answers.print(f"{name:<16}{'' if value is None else value}")
    if row.traceback:
        answers.print(f"\n{row.traceback}", end="")


def start_job(url: str | None, dataset: str, config: ExperimentConfig, kind: JobKind, start_from: int | None) -> None:
    """Queue a job and print its number."""
    with job_store(url) as jobs:
        row, _ = jobs.create(
            kind=kind,
            dataset=dataset,
            config=config.model_dump(mode="json"),
            num_rounds=config.federated.num_rounds,
            start_from=start_from,
        )
        waiting = not jobs.trainers()
    answers.print(str(row.id))
    if waiting:
        notes.print("no trainer has been seen yet: start one with fedmem trainer")


def wish(url: str | None, job_id: int, what: str) -> None:
    """Stop, pause or resume a job."""
    with job_store(url) as jobs:
        row: JobRow = {"stop": jobs.stop, "pause": jobs.pause, "resume": jobs.resume}[what](job_id)
    notes.print(f"job {row.id} is {state_of(row)}")


def show_log(url: str | None, job_id: int, *, follow: bool) -> None:
    """A job's log; with ``follow`` until the job has ended."""
    with job_store(url) as jobs:
        last = 0
        while True:
            row = jobs.get(job_id)
            while lines := jobs.logs(job_id, after_id=last):
                for line in lines:
                    answers.print(f"{datetime.fromtimestamp(line.time):%H:%M:%S} {line.level} {line.message}")
                last = lines[-1].id
            if not follow or row.state in ("succeeded", "failed", "stopped"):
                return
            time.sleep(0.5)


def show_audit(url: str | None, job_id: int, *, as_json: bool) -> None:
    """The ledger: bytes that crossed between clients and server, in sum and per client and round."""
    with job_store(url) as jobs:
        row = jobs.get(job_id)
        found = ledger(MetricStore(jobs.engine).rounds(job_id, splits=["train"]))
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


def ledger(rounds: list[RoundRow]) -> dict[str, Any]:
    """Sums over a job's rounds of what its clients received and sent, counted on the serialized messages."""
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


def summary(row: JobRow) -> dict[str, Any]:
    """What a reader wants of a job."""
    names = (
        "id", "kind", "dataset", "state", "desired_state", "round", "num_rounds", "best_round", "worker", "attempts",
        "start_from", "snapshot_digest", "model_version", "message",
    )  # fmt: skip
    return {name: getattr(row, name) for name in names}
