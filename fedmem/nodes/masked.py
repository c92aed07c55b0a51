"""What nodes send where sums are secure: words that say nothing, and of what form the numbers are that they stand for.

A node adds up its users, writes the sum in fixed point and masks it whole. Of an update three lanes cross: the change
of every parameter; samples, users, prototypes and metrics; transitions of all pairs, or a sketch's cells, with how
often each item was taken.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.config import EvaluationConfig, ExperimentConfig
from fedmem.errors import TrainingError
from fedmem.evaluation.metric_table import MetricSums, Moments, metric_names
from fedmem.federated.encodings import add_transitions, numbers_point, parameters_point, transition_counts
from fedmem.federated.messages import ITEM_ROWS, Arrays, Broadcast, GatheredPrototypes, UpdateSum
from fedmem.federated.sums import Mean, Total
from fedmem.memory.count_sketch import shape_of
from fedmem.memory.prototypes import Prototypes
from fedmem.memory.transitions import TransitionCounts
from fedmem.nodes.wire import MOST_SAMPLES, sum_of, written
from fedmem.secure_sums.forms import form_of, numbers_of, rebuilt

Words = npt.NDArray[np.unsignedinteger[Any]]
Lanes = dict[str, Words]
Facts = Mapping[str, Any]
DELTA, NUMBERS, PAIRS = "delta", "numbers", "pairs"
CLIPPED = "clipped_parameters"


def update_lanes(
    config: ExperimentConfig, cohort: int, nodes: int, update: UpdateSum, handed_on: TransitionCounts | None
) -> tuple[Lanes, Facts]:
    """Write the sum over a node's users as words, and tell of what form they are.

    Args:
        config: the run's configuration.
        cohort: users of all nodes of the sum.
        nodes: of how many nodes it is.
        update: what this node's users send.
        handed_on: their transitions; None in a sum without any.
    """
    delta, senders = dict(update.delta), update.clients
    if update.item_rows is not None:
        delta[ITEM_ROWS] = update.item_rows.dense()
    words, clipped = parameters_point(config.secure_sums, cohort).encode(numbers_of(_sorted(delta)), senders)
    rest: dict[str, Any] = {
        "weight": float(update.weight),
        "clients": senders,
        "row_weight": update.row_weight,
        "prototypes": _ordered(update.prototypes),
        "metrics": _sorted({**update.metrics, CLIPPED: Total(float(clipped))}),
    }
    numbers, _ = numbers_point(cohort).encode(numbers_of(rest), senders)
    lanes: Lanes = {DELTA: words, NUMBERS: numbers}
    if handed_on is not None:
        lanes[PAIRS] = add_transitions(None, handed_on, nodes)
    return lanes, _form_facts(rest)


def _sorted(found: Mapping[str, Any]) -> dict[str, Any]:
    """Order what every node must write in one order."""
    return dict(sorted(found.items()))


def _ordered(memory: Prototypes | GatheredPrototypes | None) -> Prototypes | None:
    """Order the blocks of prototypes as who reads them does."""
    assert not isinstance(memory, GatheredPrototypes), "the configuration refuses them"
    return None if memory is None else Prototypes.from_arrays(memory.to_arrays())


def _form_facts(rest: Mapping[str, Any]) -> Facts:
    memory = rest["prototypes"]
    return {
        "metrics": {name: written(_zeroed(found)) for name, found in rest["metrics"].items()},
        "prototypes": None if memory is None else {name: list(x.shape) for name, x in memory.to_arrays().items()},
        "row_weight": rest["row_weight"] is not None,
    }


def _zeroed(part: Any) -> Any:
    return rebuilt(form_of(part), np.zeros(len(numbers_of(part))))


def read_update(
    config: ExperimentConfig, cohort: int, lanes: Lanes, facts: Facts, broadcast: Broadcast, clients: int, nodes: int
) -> UpdateSum:
    """Read the words of all nodes' sum, of which the masks are off.

    Args:
        config: the run's configuration.
        cohort: users of all nodes that began.
        lanes: the words.
        facts: of what form they are.
        broadcast: what the nodes were sent.
        clients: users of the nodes whose words arrived.
        nodes: how many nodes those are.

    Raises:
        TrainingError: if the words cannot be such a sum: a node masked something else.
    """
    delta_form, rest_form = update_forms(facts, broadcast)
    delta = rebuilt(delta_form, parameters_point(config.secure_sums, cohort).decode(lanes[DELTA]))
    rest = rebuilt(rest_form, numbers_point(cohort).decode(lanes[NUMBERS]))
    if rest.pop("clients") != clients or not 0 < rest["weight"] <= MOST_SAMPLES:
        raise TrainingError(
            "the sum's users are not those that were drawn: a node masked something else than it should"
        )
    prototypes = rest["prototypes"]
    sizes = {"weights": lanes[DELTA].nbytes, "prototypes": 8 * (prototypes is not None and len(numbers_of(prototypes)))}
    sizes["keys"] = lanes[NUMBERS].nbytes - sizes["prototypes"]
    if PAIRS in lanes:
        rest["transitions"] = transition_counts(lanes[PAIRS], _shape(config, broadcast))
        sizes["transitions"] = lanes[PAIRS].nbytes
    sent = {part: Mean(float(size * nodes), float(nodes)) for part, size in sizes.items()}
    return UpdateSum(delta, **rest, upload_bytes=sent, clients=clients)


def update_forms(facts: Facts, broadcast: Broadcast) -> tuple[Any, Any]:
    """Return the form of an update's first two lanes, with what a node told of it.

    Raises:
        ValueError: if it told of something else.
    """
    shapes, size = facts["prototypes"], len(broadcast.parameters[ITEM_ROWS])
    arrays = None if shapes is None else {str(name): _blank(shape, np.float32) for name, shape in shapes.items()}
    if arrays is not None and broadcast.global_memory is not None:
        expected = broadcast.global_memory.to_arrays()
        if {name: x.shape for name, x in arrays.items()} != {name: x.shape for name, x in expected.items()}:
            raise ValueError("its prototypes have other shapes than those handed down")
    rest = {
        "weight": 0.0,
        "clients": 0,
        "row_weight": _blank([size], np.float64) if facts["row_weight"] else None,
        "prototypes": None if arrays is None else Prototypes.from_arrays(arrays),
        "metrics": _sorted({str(name): sum_of(found) for name, found in facts["metrics"].items()}),
    }
    return form_of(_sorted(broadcast.parameters)), form_of(rest)


def _blank(shape: list[int], dtype: type) -> npt.NDArray[Any]:
    """Make an array that takes no memory, for a form: its shape is what a node says."""
    if not all(isinstance(n, int) and 0 < n < 2**31 for n in shape) or len(shape) > 2:
        raise ValueError(f"an array has the shape {shape}")
    return np.broadcast_to(np.zeros((), dtype), shape)


def size_of(form: Any) -> int:
    """Count the numbers of a form."""
    match form:
        case Mapping():
            return sum(map(size_of, form.values()))
        case type():
            return 1
    if hasattr(form, "shape"):
        return math.prod(form.shape)
    return size_of(form.parts) if hasattr(form, "parts") else 0


def update_sizes(config: ExperimentConfig, facts: Facts, broadcast: Broadcast, *, pairs: bool) -> dict[str, Any]:
    """Tell of what type and how long each lane of an update has to be."""
    delta, rest = update_forms(facts, broadcast)
    size = math.prod(_shape(config, broadcast)) + len(broadcast.parameters[ITEM_ROWS])
    words = np.uint32 if config.secure_sums.bits == 32 else np.uint64
    found = {DELTA: (words, size_of(delta)), NUMBERS: (np.uint64, size_of(rest))}
    return found | ({PAIRS: (np.uint32, size)} if pairs else {})


def _shape(config: ExperimentConfig, broadcast: Broadcast) -> tuple[int, int]:
    return shape_of(config.transitions, len(broadcast.parameters[ITEM_ROWS]) - 1)


def metric_lanes(cohort: int, users: int, sums: MetricSums) -> Lanes:
    """Write what a node's users measured as words."""
    return {NUMBERS: numbers_point(cohort).encode(numbers_of(sums), users)[0]}


def metric_form(asked: EvaluationConfig, broadcast: Broadcast) -> Any:
    """Return the form of the metrics that a broadcast asks for; there are always those without transitions."""
    none = Moments(0.0, 0.0, 0)
    nothing = MetricSums(dict.fromkeys(metric_names(asked.k_list, asked.metrics), none))
    fused = {strength: nothing for strength in broadcast.tried if strength}
    short = {length: dict.fromkeys(broadcast.tried, none) for length in broadcast.short_histories}
    return form_of(MetricSums(nothing.moments, fused, short))


def metric_sizes(form: Any) -> dict[str, Any]:
    """Tell of what type and how long the lane of metrics of this form has to be."""
    return {NUMBERS: (np.uint64, size_of(form))}


def read_metrics(cohort: int, lanes: Lanes, form: Any, users: int) -> MetricSums:
    """Read the words of all nodes' metrics, unmasked; ``TrainingError`` if they are something else."""
    found: MetricSums = rebuilt(form, numbers_point(cohort).decode(lanes[NUMBERS]))
    if found.count != users:
        raise TrainingError("the sum's users are not those who evaluate: a node masked something else than it should")
    return found


def check_lanes(arrays: Arrays, sizes: Mapping[str, Any]) -> Lanes:
    """Take the lanes of a node's answer; ``ValueError`` if they are of other types or lengths."""
    found = {name: array for name, array in arrays.items() if name in sizes}
    if found.keys() != sizes.keys() or len(arrays) != len(found):
        raise ValueError(f"it sends {', '.join(sorted(arrays))}, and is to send {', '.join(sorted(sizes))}")
    for name, (dtype, size) in sizes.items():
        if found[name].dtype != dtype or found[name].shape != (size,):
            raise ValueError(f"{name} has {found[name].shape} words of {found[name].dtype}, and is to have {size}")
    return {name: np.array(found[name]) for name in sizes}
