"""What a round reports, from the sums that its clients sent."""

from collections.abc import Sequence

from fedmem.federated.distributions import CLIENT_LOSS, SURPRISE, SURPRISE_TOGETHER
from fedmem.federated.messages import Broadcast, UpdateSum
from fedmem.memory.prototypes import Prototypes, collapse, drift, spread


def round_metrics(total: UpdateSum, broadcast: Broadcast, before: Prototypes | None) -> dict[str, float]:
    """Report a round: means over positions or clients, measures of the prototypes, and bytes per client.

    Args:
        total: the sum over the total.
        broadcast: what the server would send after the round.
        before: the global abstract memory before the round.
    """
    sums = total.metrics
    positions, clients = sums["positions"], total.clients
    metrics = {
        "clients": float(clients),
        "recommendation_loss": sums["recommendation_loss"] / positions,
        "contrastive_loss": sums["contrastive_loss"] / positions,
        **CLIENT_LOSS.quantiles(sums),
    }
    metrics |= {name: value / positions for name, value in sums.items() if name.startswith("gate_")}
    if "surprise" in sums:  # where clients have a memory
        metrics |= {
            "surprise_mean": sums["surprise"] / positions,
            **SURPRISE.quantiles(sums),
            **SURPRISE.shares(sums, SURPRISE_TOGETHER),
            "memory_updates": sums["memory_updates"],
            "memory_evictions": sums["memory_evictions"],
            "memory_written_fraction": sums["memory_updates"] / positions,
            "memory_occupancy_mean": sums["memory_occupancy"] / clients,
        }
    metrics |= {f"bytes_down_{part}": float(count) for part, count in broadcast.num_bytes().items()}
    metrics |= {f"bytes_up_{part}": count / clients for part, count in total.upload_bytes.items()}
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
