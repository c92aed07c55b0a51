"""Rounds as a trainer would report them: curves that look like training, from a seed, without any training."""

import math
import random
from dataclasses import dataclass

EXPERTS = ("sequential", "text", "visual")
NUM_PROTOTYPES = 5
SURPRISE_BINS = 17
QUANTILES = {"p05": -1.6, "p25": -0.7, "p50": 0.0, "p75": 0.7, "p95": 1.6}
BASELINES = {
    "popularity_HR@10": 0.094,
    "popularity_NDCG@10": 0.047,
    "popularity_MRR": 0.039,
    "item_counts_HR@10": 0.483,
    "item_counts_NDCG@10": 0.27,
    "ease_HR@10": 0.471,
    "ease_NDCG@10": 0.275,
}
USERS = 500


@dataclass(frozen=True)
class Curves:
    """Metrics by split for a round; ``level`` is the HR@10 that training comes to."""

    seed: int = 7
    level: float = 0.46
    eval_every: int = 10
    memory: bool = True
    baselines: bool = True

    def metrics(self, number: int) -> dict[str, dict[str, float]]:
        """What round ``number`` reports; round 0 holds the baselines alone, and of a job over nodes nothing."""
        if number == 0:
            return {"validation": dict(BASELINES)} if self.baselines else {}
        noise = random.Random(f"{self.seed}-{number}")
        splits = {"train": self._train(number, noise), "system": _system(number, noise)}
        if number % self.eval_every == 0:
            splits["validation"] = self.ranking(number, noise)
            without = {f"without_transitions_{name}": 0.9 * value for name, value in splits["validation"].items()}
            splits["validation"] |= without if self.memory else {}
            splits["train"] |= _transitions_at_validation() if self.memory else {}
        return splits

    def ranking(self, number: int, noise: random.Random) -> dict[str, float]:
        """Validation or test metrics with standard errors."""
        reached = self.level * (1 - math.exp(-number / 35)) - 0.0004 * max(0, number - 110)
        found = {}
        for k, share in ((5, 0.66), (10, 1.0), (20, 1.38)):
            found[f"HR@{k}"] = max(0.01, share * reached + noise.gauss(0, 0.008))
            found[f"NDCG@{k}"] = found[f"HR@{k}"] * (0.62 - 0.006 * k)
        found["MRR"] = 0.5 * found["HR@10"]
        errors = {f"{name}_se": math.sqrt(value * (1 - value) / USERS) for name, value in found.items()}
        return found | errors | {"users": float(USERS)}

    def _train(self, number: int, noise: random.Random) -> dict[str, float]:
        loss = 3.4 + 2.4 * math.exp(-number / 40) + noise.gauss(0, 0.05)
        values = {
            "clients": 50.0,
            "recommendation_loss": loss,
            "contrastive_loss": 1.1 + 1.4 * math.exp(-number / 25) + noise.gauss(0, 0.02),
            **{f"client_loss_{name}": max(0.1, loss + 0.45 * place) for name, place in QUANTILES.items()},
            "bytes_down_weights": 182_000.0,
            "bytes_up_weights": 182_000.0,
            "bytes_down_prototypes": 12_300.0 if self.memory else 0.0,
            "bytes_up_prototypes": 12_300.0 if self.memory else 0.0,
        }
        if self.memory:
            values |= {"transition_pairs": 40.0 * number, "transition_interactions": 90.0 * number}
            values |= {"transition_new_interactions": 90.0, "bytes_up_transitions": 3600.0}
        return values | (self._memory(number, noise) if self.memory else {})

    def _memory(self, number: int, noise: random.Random) -> dict[str, float]:
        mean = 0.25 + 0.6 * math.exp(-number / 30)
        written = 0.0 if number <= 10 else 50 * 20 * mean * 0.4
        gates = _shares([1.0, 0.8 + number / 120, 0.5 + number / 300])
        masses = _shares([3, 2.2 + math.sin(number / 30), 1.8, 1.1, 0.7])
        bins = _shares([math.exp(-abs(0.25 * k - mean) / (0.35 + mean / 3)) for k in range(SURPRISE_BINS)])
        return {
            "surprise_mean": mean,
            **{f"surprise_{name}": max(0.005, mean * math.exp(0.9 * place)) for name, place in QUANTILES.items()},
            **{f"surprise_share_{k:02d}": share for k, share in enumerate(bins)},
            "memory_updates": float(round(written)),
            "memory_evictions": float(round(written * max(0.0, 1 - 60 / number))),
            "memory_written_fraction": written / 4000,
            "memory_occupancy_mean": 0.0 if number <= 10 else 50 * (1 - math.exp(-(number - 10) / 30)),
            **{f"gate_{name}": share for name, share in zip(EXPERTS, gates, strict=True)},
            "gate_entropy": -sum(share * math.log(share) for share in gates),
            "prototype_collapse": 0.12 + 0.1 * math.exp(-number / 40) + noise.gauss(0, 0.005),
            "prototype_spread": 0.8,
            "prototype_drift": 0.002 + 0.05 * math.exp(-number / 20),
            **{f"prototype_mass_{k}": 1000 * share for k, share in enumerate(masses)},
        }


def _system(number: int, noise: random.Random) -> dict[str, float]:
    evaluate = {"seconds_evaluate": 0.4 + noise.random() / 10} if number % 10 == 0 else {}
    return {
        "seconds_train": 0.32 + noise.random() / 10,
        "seconds_aggregate": 0.02 + noise.random() / 200,
        "seconds_write": 0.015 + noise.random() / 300,
        "peak_memory_mib": 610.0 + min(60.0, number),
        **evaluate,
    }


def _shares(weights: list[float]) -> list[float]:
    total = sum(weights)
    return [weight / total for weight in weights]


def _transitions_at_validation() -> dict[str, float]:
    short = {f"transition_strength_up_to_{length}": strength for length, strength in ((1, 1.0), (3, 0.7), (10, 0.5))}
    return {"transition_strength": 0.3, "bytes_down_transitions": 24_000.0} | short
