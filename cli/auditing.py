"""``fedmem audit``: the ledger of what a job's clients and server have sent each other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from cli.database import opened
from cli.jobs import JobId, job_store
from cli.options import AsJson, DatabaseUrl, ServiceDir, runs_in
from cli.screen import answer_json, answers, notes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedmem.bucket import Runs
    from fedmem.config import ExperimentConfig
    from fedmem.contracts import LeakReport
    from fedmem.storage.jobs import JobRow
    from fedmem.storage.metrics import RoundRow

CROSSED = (
    "crossed: parameters and their changes, prototypes as sums and counts, transitions in sums over a round's clients, "
    "sums of metrics",
    "never crossed: a client's history, an entry of its memory",
    "a table of transitions may hold rare pairs of items, which a single client gave",
)

BUDGETED = {  # what crosses and may have a budget, in words
    "weights": "the weights",
    "prototypes": "prototypes",
    "transitions": "the table of transitions",
    "metrics": "metrics of training, validations and the test",
}


def audit(
    job: JobId,
    attacks: Annotated[
        bool,
        typer.Option("--attacks", help="Attack the messages of some clients, and say what they give away (minutes)."),
    ] = False,
    clients: Annotated[int, typer.Option(min=2, metavar="N", help="How many clients are attacked.")] = 100,
    cohort: Annotated[
        int, typer.Option(min=2, metavar="N", help="How many of them the sums are made of that are attacked.")
    ] = 20,
    data_dir: ServiceDir = Path("runs/service"),
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the ledger of what a job's clients and server have sent each other.

    With --attacks, its clients, drawn from the job's seed, take part in one more round that nothing is kept of; the
    result is kept beside the job, where the dashboard's Privacy page shows it.
    """
    from fedmem.config import ExperimentConfig
    from fedmem.storage.metrics import MetricStore

    with job_store(database_url) as jobs:
        row = jobs.get(job)
        found = ledger(MetricStore(jobs.engine).rounds(job, splits=["train", "validation"]))
        config = ExperimentConfig.model_validate(row.config)
        found |= budget_of(config, found.pop("spent"))
    leaks = _attacked(runs_in(data_dir), row, clients, cohort, database_url) if attacks else None
    if as_json:
        answer_json({"job": row.id, "dataset": row.dataset, **found, **(_summary(leaks) if leaks else {})})
        return
    answers.print(_table(f"job {row.id} on {row.dataset}", found))
    for sentence in (*CROSSED, *of_cohorts(config), *of_nodes(config), spent(found, config)):
        answers.print(sentence)
    if leaks:
        answers.print(_meter(leaks))
        for sentence in unmeasured(leaks, config):
            answers.print(sentence)


def of_cohorts(config: "ExperimentConfig") -> list[str]:
    """Say of how many clients a sum was, where simulated clients masked what they sent."""
    if not (config.clients_here and config.secure_sums.enabled):
        return []
    least = config.secure_sums.minimum_cohort
    return [
        f"updates, prototypes, transitions and metrics crossed masked, read in sums over {least} clients or more, by "
        "secrets that the simulation draws from the job's seed"
    ]


def unmeasured(report: "LeakReport", config: "ExperimentConfig") -> list[str]:
    """Say why there is no row of prototypes, where there is none."""
    if any(leak.attack == "prototype_inversion" for leak in report.leaks):
        return []
    if not config.uses_prototypes:
        return ["prototypes are not attacked: no client of this job sends any"]
    return [f"prototypes are not attacked: no attacked client's memory holds anything after round {report.round}"]


def of_nodes(config: "ExperimentConfig") -> list[str]:
    """Say what crossed of nodes, and of how many nodes a sum was, where clients were on other owners' machines."""
    from fedmem.contracts import told_of_nodes

    if config.clients_here:
        return []
    masked = config.secure_sums.enabled
    least = config.flower.minimum_nodes
    sums = f"masked, read in sums over {least} nodes or more" if masked else "of each node in the clear"
    return [
        f"updates, prototypes, transitions and metrics crossed {sums}",
        told_of_nodes(masked=masked),
    ]


def _attacked(runs: "Runs", job: "JobRow", clients: int, cohort: int, database_url: str | None) -> "LeakReport":
    """Attack a job's clients and keep what was found beside it."""
    from fedmem.attacks import measure_leaks
    from fedmem.checkpoint import RunDirectory
    from fedmem.features.inference import one_thread
    from fedmem.serving import write_leaks
    from fedmem.storage.erasures import ErasureStore

    directory = RunDirectory(runs.brought(job.id))
    notes.print(f"attacking {clients} clients of job {job.id}")
    with one_thread():
        found = measure_leaks(directory, job.id, clients, cohort)
    if job.state == "running":  # whose trainer has the folder, and publishes it
        write_leaks(directory.path, found)
        return found
    with opened(database_url) as engine, ErasureStore(engine).alone():
        runs.keep(job.id, lambda folder: write_leaks(folder, found))
    return found


def budget_of(config: "ExperimentConfig", epsilons: "Mapping[str, float]") -> dict[str, Any]:
    """Say what is spent, and on what; null where nothing is noised."""
    from fedmem.privacy.cost import cost

    sent = {"prototypes": config.uses_prototypes, "transitions": config.uses_transitions}
    crossing = [part for part in BUDGETED if sent.get(part, True)]
    found = cost(config, **epsilons)
    if found is None:
        return {"epsilon": None, "delta": None, "protected": [], "unprotected": crossing}
    protected = list(found.protected)
    unprotected = [part for part in crossing if part not in protected]
    return {"epsilon": found.epsilon, "delta": found.delta, "protected": protected, "unprotected": unprotected}


def spent(found: dict[str, Any], config: "ExperimentConfig") -> str:
    """Say what of a job's budgets is spent, and what has none."""
    if found["epsilon"] is None:
        leaking = "whatever the sums hold" if config.secure_sums.enabled else "whatever crosses"
        return f"spent: no privacy budget, as nothing is released with noise: {leaking} may leak"
    said = (
        f"spent: epsilon {found['epsilon']:.4g}, delta {found['delta']:g} for a user, on "
        f"{' and '.join(BUDGETED[part] for part in found['protected'])}"
    )
    if not found["unprotected"]:
        return f"{said}: all that crosses, as far as the server that adds up is trusted"
    *others, last = (BUDGETED[part] for part in found["unprotected"])
    have = "has" if found["unprotected"] == ["transitions"] else "have"
    return f"{said} alone; {' and '.join(filter(None, (', '.join(others), last)))} {have} no noise, and may leak"


def _summary(report: "LeakReport") -> dict[str, Any]:
    """Name the figures that are compared first; null where the job sends nothing of the kind."""
    by_name = {leak.attack: leak for leak in report.leaks}
    inversion = by_name.get("prototype_inversion")
    aucs = {
        f"{name}_auc": by_name[name].measured if name in by_name else None for name in ("interaction", "transition")
    }
    recall = inversion and {"recall": inversion.measured, "chance": inversion.chance}
    return {"prototype_inversion": recall, **aucs, **report.model_dump(mode="json", exclude={"job_id"})}


def _meter(report: "LeakReport") -> Table:
    table = Table(title=f"what {report.clients} clients gave away after round {report.round}")
    for name in ("", "found", "by chance", "by popularity", "measure"):
        table.add_column(name, justify="right" if name and name != "measure" else "left")
    for leak in report.leaks:
        popular = "" if leak.popularity is None else f"{leak.popularity:.3f}"
        table.add_row(leak.what, f"{leak.measured:.3f}", f"{leak.chance:.3f}", popular, leak.measure)
    return table


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
        "spent": {
            part: max((each["train"].get(f"epsilon_{part}", 0.0) for each in counted), default=0.0) for part in BUDGETED
        },
    }
