"""The types of ``federated.messages`` as letters and back; what comes from a node is checked while it is read."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from fedmem.config import TransitionsConfig
from fedmem.evaluation.metric_table import MetricSums, Moments
from fedmem.federated.distributions import Counts, Distribution
from fedmem.federated.messages import ITEM_ROWS, Arrays, Broadcast, GatheredPrototypes, Mean, RowSum, Sum, UpdateSum
from fedmem.federated.sums import Total
from fedmem.memory.count_sketch import shape_of
from fedmem.memory.prototypes import Prototypes
from fedmem.memory.transitions import TransitionCounts, TransitionTable
from fedmem.nodes.letter import Array, Letter

MOST_SAMPLES = 2**53


def _group(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{name}/{key}": value for key, value in arrays.items()}


def _grouped(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {key.removeprefix(f"{name}/"): value for key, value in arrays.items() if key.startswith(f"{name}/")}


def broadcast_letter(broadcast: Broadcast) -> Letter:
    """Write a broadcast."""
    arrays = _group("parameters", broadcast.parameters)
    if broadcast.global_memory is not None:
        arrays |= _group("memory", broadcast.global_memory.to_arrays())
    if (table := broadcast.transitions) is not None:
        arrays |= _group("transitions", {"items": table.items, "weights": table.weights, "taken": table.taken})
    facts = {
        "round": broadcast.round,
        "strengths": list(broadcast.strengths),
        "short_strengths": [list(pair) for pair in broadcast.short_strengths.items()],
        "short_histories": list(broadcast.short_histories),
    }
    return Letter(facts, arrays)


def broadcast_of(letter: Letter, config: TransitionsConfig) -> Broadcast:
    """Read a broadcast; how the transitions are read is the run's configuration."""
    memory, table = _grouped("memory", letter.arrays), _grouped("transitions", letter.arrays)
    return Broadcast(
        round=letter.facts["round"],
        parameters=_grouped("parameters", letter.arrays),
        global_memory=Prototypes.from_arrays(memory) if memory else None,
        transitions=TransitionTable(**table, config=config) if table else None,
        strengths=tuple(letter.facts["strengths"]),
        short_strengths=dict(letter.facts.get("short_strengths", ())),  # a server of before has none
        short_histories=tuple(letter.facts.get("short_histories", ())),
    )


def update_letter(update: UpdateSum) -> Letter:
    """Write the sum of what a node's clients send."""
    arrays = _group("delta", update.delta)
    if update.item_rows is not None:
        arrays |= _group("rows", {"rows": update.item_rows.rows, "values": update.item_rows.values})
    if update.row_weight is not None:
        arrays["row_weight"] = update.row_weight
    memory = update.prototypes
    if memory is not None:
        gathered = isinstance(memory, GatheredPrototypes)
        prototypes = memory.all if isinstance(memory, GatheredPrototypes) else memory
        arrays |= _group("gathered" if gathered else "prototypes", prototypes.to_arrays())
    if update.transitions is not None:
        arrays |= _group("transitions", update.transitions.to_arrays())
    facts = {
        "weight": float(update.weight),
        "clients": update.clients,
        "num_rows": None if update.item_rows is None else update.item_rows.num_rows,
        "metrics": {name: written(found) for name, found in update.metrics.items()},
        "upload_bytes": {name: written(found) for name, found in update.upload_bytes.items()},
    }
    return Letter(facts, arrays)


def update_of(letter: Letter, broadcast: Broadcast) -> UpdateSum:
    """Read an update of the broadcast model.

    Raises:
        ValueError: naming what is not of its shape, or no number.
    """
    facts, arrays = letter.facts, letter.arrays
    delta, rows, memory = (_grouped(name, arrays) for name in ("delta", "rows", "prototypes"))
    gathered, transitions = _grouped("gathered", arrays), _grouped("transitions", arrays)
    for name, value in arrays.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"{name} holds what is no number")
    _check_delta(delta, broadcast.parameters, rows)
    item_rows = RowSum(rows["rows"], rows["values"], int(facts["num_rows"])) if rows else None
    if broadcast.global_memory is not None and memory:
        _check_alike("prototypes", memory, broadcast.global_memory.to_arrays())
    if transitions and transitions["taken"].shape != (len(broadcast.parameters[ITEM_ROWS]),):
        raise ValueError(f"transitions are of {len(transitions['taken']) - 1} items")
    if not 0 < facts["weight"] <= MOST_SAMPLES:
        raise ValueError(f"the weight is {facts['weight']}")
    return UpdateSum(
        delta=delta,
        weight=float(facts["weight"]),
        item_rows=item_rows,
        row_weight=arrays.get("row_weight"),
        prototypes=GatheredPrototypes(Prototypes.from_arrays(gathered))
        if gathered
        else Prototypes.from_arrays(memory)
        if memory
        else None,
        transitions=TransitionCounts.from_arrays(transitions) if transitions else None,
        metrics={name: sum_of(found) for name, found in facts["metrics"].items()},
        upload_bytes={name: Mean(*map(float, found[1:])) for name, found in facts["upload_bytes"].items()},
        clients=int(facts["clients"]),
    )


def check_form(transitions: TransitionCounts | None, config: TransitionsConfig) -> None:
    """Refuse pairs where a run has the cells of a sketch handed on, cells where it has pairs, and other cells."""
    if transitions is not None and transitions.pairs.shape != (wanted := shape_of(config, transitions.num_items)):
        raise ValueError(f"transitions are {transitions.pairs.shape}, and are to be {wanted}")


def _check_delta(delta: Arrays, parameters: Arrays, rows: Arrays) -> None:
    """Refuse a change of anything but every parameter; the items' may come by rows."""
    if rows:
        item, values = rows["rows"], rows["values"]
        size = parameters[ITEM_ROWS].shape
        if item.dtype.kind != "i" or values.shape != (len(item), size[1]) or not ((item >= 0) & (item < size[0])).all():
            raise ValueError(f"rows of items are {values.shape}, and are to be some of {size}")
    _check_alike("delta", delta, {name: x for name, x in parameters.items() if not (rows and name == ITEM_ROWS)})


def _check_alike(what: str, found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    if found.keys() != expected.keys():
        raise ValueError(f"{what} has {', '.join(sorted(found.keys() ^ expected.keys()))} too much or too little")
    for name, value in found.items():
        if value.shape != expected[name].shape or value.dtype != expected[name].dtype:
            wanted = f"{expected[name].dtype} {expected[name].shape}"
            raise ValueError(f"{what} of {name} is {value.dtype} {value.shape}, and is to be {wanted}")


def written(found: Sum) -> list[Any]:
    """Write a metric's sum."""
    if isinstance(found, Mean):
        return ["mean", float(found.total), float(found.weight)]
    if isinstance(found, Total):
        return ["total", float(found.value)]
    assert isinstance(found, Counts), f"{type(found).__name__} has no form on the wire"
    return ["counts", asdict(found.distribution), found.by_bin.tolist()]


_SUMS: Mapping[str, Callable[..., Sum]] = {
    "mean": lambda total, weight: Mean(float(total), float(weight)),
    "total": lambda value: Total(float(value)),
    "counts": lambda told, by_bin: Counts(Distribution(**told), np.array(by_bin, np.float64)),
}


def sum_of(found: list[Any]) -> Sum:
    """Read what ``written`` wrote."""
    kind, *values = found
    return _SUMS[kind](*values)


def form_of(update: UpdateSum) -> Hashable:
    """Tell what parts an update has, and of which kinds: updates of one form can be added."""
    metrics = tuple(sorted((name, _kind(found)) for name, found in update.metrics.items()))
    parts = tuple(part.name for part in fields(update) if getattr(update, part.name) is not None)
    return metrics, tuple(sorted(update.upload_bytes)), parts


def _kind(found: Sum) -> str:
    return f"{type(found).__name__} {(found.distribution, found.by_bin.shape) if isinstance(found, Counts) else ''}"


def metrics_letter(sums: MetricSums) -> Letter:
    """Write sums of metrics, which are all that an evaluation sends."""
    short = [[length, [[s, *_sums(m)] for s, m in found.items()]] for length, found in sums.short.items()]
    fused = [[strength, _moments(found)] for strength, found in sums.fused.items()]
    return Letter({"moments": _moments(sums), "fused": fused, "short": short})


def metrics_of(letter: Letter) -> MetricSums:
    """Read sums of metrics; ``ValueError`` if they are no numbers."""
    fused = {float(strength): _metric_sums(found) for strength, found in letter.facts["fused"]}
    short = {int(n): {float(s): _read(sums) for s, *sums in found} for n, found in letter.facts.get("short", ())}
    return MetricSums(_metric_sums(letter.facts["moments"]).moments, fused, short)


def check_metrics(sums: MetricSums, broadcast: Broadcast, users: int) -> None:
    """Refuse metrics of another number of users than a node has, or at other weights than were asked for."""
    if sums.count != users or set(sums.fused) != set(broadcast.tried) - {0.0}:
        raise ValueError(f"it evaluated {sums.count} clients at {sorted(sums.fused)}")
    asked = {(length, strength): users for length in broadcast.short_histories for strength in broadcast.tried}
    found = {(length, s): one.count for length, by_strength in sums.short.items() for s, one in by_strength.items()}
    if found != asked:
        raise ValueError(f"it evaluated short histories of {sorted(sums.short)} at other weights, or of other clients")


def _moments(sums: MetricSums) -> dict[str, list[float]]:
    return {name: _sums(found) for name, found in sums.moments.items()}


def _sums(moments: Moments) -> list[float]:
    return [moments.total, moments.squares, moments.count]


def _metric_sums(told: Mapping[str, list[float]]) -> MetricSums:
    return MetricSums({name: _read(sums) for name, sums in told.items()})


def _read(sums: Sequence[float]) -> Moments:
    if not np.isfinite(sums).all():
        raise ValueError("a metric is no number")
    total, squares, count = sums
    return Moments(float(total), float(squares), int(count))
