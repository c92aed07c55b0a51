"""What a round reports, from the sums that its clients sent."""

from collections.abc import Sequence

from fedmem.federated.messages import Broadcast, UpdateSum
from fedmem.memory.prototypes import Prototypes, collapse, drift, spread
from fedmem.memory.transitions import TransitionCounts


def round_metrics(total: UpdateSum, broadcast: Broadcast, before: Prototypes | None) -> dict[str, float]:
    """Report a round: what its clients measured, measures of the prototypes, and bytes per client.

    Args:
        total: the sum over the cohort.
        broadcast: what the server would send after the round.
        before: the global abstract memory before the round.
    """
    metrics = {"clients": float(total.clients)}
    for name, found in total.metrics.items():
        metrics |= found.report(name)
    metrics |= {f"bytes_down_{part}": float(count) for part, count in broadcast.num_bytes().items()}
    metrics |= {f"bytes_up_{part}": size.value for part, size in total.upload_bytes.items()}
    return metrics | _prototype_metrics(before, broadcast.global_memory)


def _prototype_metrics(before: Prototypes | None, after: Prototypes | None) -> dict[str, float]:
    if before is None or after is None:
        return {}
    mass: Sequence[float] = after.mass.tolist()
    return {
        "prototype_collapse": collapse(after),
        "prototype_spread": spread(after),
        "prototype_drift": drift(before, after),
        **{f"prototype_mass_{k}": value for k, value in enumerate(mass)},
    }


def transition_metrics(total: TransitionCounts | None, new: TransitionCounts | None) -> dict[str, float]:
    """Report how large the transition memory is after a round, and how many interactions the round has added."""
    if total is None or new is None:
        return {}
    pairs = {} if total.in_cells else {"transition_pairs": float(total.pairs.nnz)}
    return pairs | {
        "transition_interactions": float(total.taken.sum()),
        "transition_new_interactions": float(new.taken.sum()),
    }
