"""What secure sums cost: CPU time of a round with them over that of one without, in one interleaved run of one thread.

    python -m benchmarks.secure_sums --data PATH_TO_ML_100K

round       training, masks, unmasking and aggregation, of the default configuration (weights alone) and of the complete
            method; both sides without transitions, which cross once and are measured apart.
each        the same round in which each client's update is computed and written down by itself, but added up in the
            clear: what masking itself adds to that is ``masks``.
hand_on     CPU seconds in which a client masks the block of all pairs, once in a run.
validation  a validation with secure sums over one without.

Vectors of items and texts are drawn, as their values cost no time. Writes benchmarks/results/secure_sums-NAME.json.
"""

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import interleaved, machine, ratio, write_result
from benchmarks.simulate import configured, generated_movielens, server_of
from fedmem.config_reader import merged
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import load_dataset
from fedmem.features.inference import one_thread
from fedmem.federated.postprocessing import Postprocessor
from fedmem.federated.secure_aggregation import SecureAggregation, added
from fedmem.federated.server import FedMemServer

METHODS: Mapping[str, Mapping[str, Any]] = {"default": {"ablation": {"disable_moe": True}}, "complete": {}}
SECURE = {"secure_sums": {"enabled": True, "minimum_cohort": 2}}


class Seen(Postprocessor):
    """Changes nothing, but makes each client send an update of its own."""

    def postprocess_one_client(self, update, rng):  # type: ignore[no-untyped-def]
        """Return the update."""
        return update


def rounds(dataset: FederatedDataset, changes: Mapping[str, Any], repetitions: int) -> dict[str, float]:
    """Measure rounds of one method."""
    alone = merged(dict(changes), {"ablation": {"disable_transitions": True}})
    sides = {"plain": server_of(configured(**alone), dataset), "each": server_of(configured(**alone), dataset)}
    sides["secure"] = server_of(configured(**merged(alone, SECURE)), dataset)
    sides["each"].postprocessors = (Seen(),)
    seconds = interleaved({name: server.run_round for name, server in sides.items()}, repetitions)
    return {
        "round": ratio(seconds, "secure", "plain"),
        "each": ratio(seconds, "each", "plain"),
        "masks": ratio(seconds, "secure", "each"),
        "seconds": statistics.median(seconds["plain"]),
        "clients": float(len(sides["plain"].select_clients())),
        "parameters": float(sum(values.size for values in sides["plain"].state.parameters.values())),
    }


def hand_on(dataset: FederatedDataset) -> dict[str, float]:
    """Measure a session of transitions of twenty clients."""
    server = server_of(configured(**merged(dict(METHODS["default"]), SECURE)), dataset)
    secure, clients = SecureAggregation(server.config, server.population), server.select_clients()[:20]
    began = time.process_time()
    session = secure.session("transitions", 0, clients)
    total = added(server.population.hand_on(clients, server.distribute_model(), session), lambda _: None)
    secure.transitions(session, total)
    return {"hand_on": (time.process_time() - began) / len(clients), "megabytes": total.num_bytes / 1e6}


def validation(dataset: FederatedDataset, repetitions: int) -> dict[str, float]:
    """Measure validations with the transition memory at no weight."""
    sides: dict[str, FedMemServer] = {
        name: server_of(configured(**merged(dict(METHODS["default"]), changes)), dataset)
        for name, changes in (("plain", {}), ("secure", SECURE))
    }
    seconds = interleaved(
        {name: functools.partial(server.evaluate_global_model, "validation") for name, server in sides.items()},
        repetitions,
    )
    return {"validation": ratio(seconds, "secure", "plain")}


def measure(dataset: FederatedDataset, repetitions: int) -> dict[str, Any]:
    """Measure everything."""
    with one_thread():
        found = {name: rounds(dataset, changes, repetitions) for name, changes in METHODS.items()}
        return {**found, **hand_on(dataset), **validation(dataset, repetitions)}


def main() -> None:
    """Measure, print and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a data set; by default users of ML-100K's size are generated")
    parser.add_argument("--repetitions", type=int, default=5)
    asked = parser.parse_args()
    dataset = load_dataset(asked.data) if asked.data else generated_movielens()
    record = {"data": dataset.name, **measure(dataset, asked.repetitions), "machine": machine()}
    for name, value in record.items():
        sys.stdout.write(f"{name}: {value}\n")
    sys.stdout.write(f"kept in {write_result(f'secure_sums-{dataset.name}', record)}\n")


if __name__ == "__main__":
    main()
