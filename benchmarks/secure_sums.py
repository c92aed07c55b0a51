"""What secure sums cost: CPU time of a round with them over that of one without, in one interleaved run of one thread.

    python -m benchmarks.secure_sums --data PATH_TO_ML_100K

round       training, masks, unmasking and aggregation, of the default configuration (weights alone) and of the complete
            method; both sides without transitions, which cross once and are measured apart.
each        the same round in which each client's update is computed and written down by itself, but added up in the
            clear: what masking itself adds to that is ``masks``.
client      what a device does of secure sums in a round, over its own training: it draws keys and shares, agrees with
            its neighbours, writes its update in fixed point and adds all masks. Clients are by themselves here, as on
            devices: rounds train 16 together, who share products and need no masks between them.
server      what a server does of them, over making the next model of a sum: it takes the masks off and reads it.
hand_on     CPU seconds in which a client, by itself, masks the block of all pairs, once in a run.
validation  a validation with secure sums over one without.

Vectors of items and texts are drawn, as their values cost no time. Writes benchmarks/results/secure_sums-NAME.json.
"""

import argparse
import copy
import functools
import operator
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.measure import interleaved, machine, ratio, write_result
from benchmarks.simulate import configured, generated_movielens, server_of
from fedmem.config import ExperimentConfig
from fedmem.config_reader import merged
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import load_dataset
from fedmem.features.inference import one_thread
from fedmem.federated.aggregation import FederatedAggregator, weighted
from fedmem.federated.client import FedMemClient
from fedmem.federated.masking import device, masked_updates
from fedmem.federated.messages import MaskedSum, Session, UpdateSum
from fedmem.federated.postprocessing import Postprocessor
from fedmem.federated.round import aggregated
from fedmem.federated.secure_aggregation import MaskingPopulation, SecureAggregation, added
from fedmem.federated.server import FedMemServer
from fedmem.federated.simulation import SimulatedPopulation

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


def parts(dataset: FederatedDataset, changes: Mapping[str, Any], repetitions: int) -> dict[str, float]:
    """Measure, of one method, what each client and the server have to do, by themselves."""
    alone = merged(dict(changes), {"ablation": {"disable_transitions": True}})
    server = server_of(configured(**merged(alone, SECURE)), dataset)
    server.run_round()
    clients, broadcast, config = server.select_clients(), server.distribute_model(), server.config
    assert isinstance(server.population, SimulatedPopulation)
    host, secure = server.population.host, SecureAggregation(config, server.population)
    session = secure.session("updates", broadcast.round, clients)
    devices = [FedMemClient(config.fedmem, one) for one in host.chunk(clients, broadcast.round).singly()]
    sent = [
        (one.chunk.users[0], weighted(one.participate(host.trainer, broadcast), config.federated, config.fedmem))
        for one in devices
    ]
    total = masked_updates(config.secure_sums, config.seed, session, sent)
    plain = functools.reduce(operator.add, [update for _, update in sent])
    aggregator = FederatedAggregator(config.federated, config.fedmem)
    seconds = interleaved(
        {
            "trains": lambda: [one.participate(host.trainer, broadcast) for one in devices],
            "masks": lambda: [_as_a_device(config, session, user, update) for user, update in sent],
            "aggregates": lambda: aggregated(aggregator, server.state, plain),
            "unmasks": lambda: secure.update(session, copy.deepcopy(total)),
        },
        repetitions,
    )
    milliseconds = {
        f"client_{name}_ms": 1000 * statistics.median(seconds[name]) / len(sent) for name in ("trains", "masks")
    }
    milliseconds |= {f"server_{name}_ms": 1000 * statistics.median(seconds[name]) for name in ("aggregates", "unmasks")}
    return {
        "client": ratio(seconds, "masks", "trains"),
        "server": ratio(seconds, "unmasks", "aggregates"),
        **milliseconds,
    }


def _as_a_device(config: ExperimentConfig, session: Session, user: int, update: UpdateSum) -> MaskedSum:
    """Do all that one device does, which knows no other's seeds: hence a session of its own."""
    one = device(config.seed, session.purpose, session.number, user)
    one.shares(session)
    assert one.public_key == session.public_keys[user]
    return masked_updates(config.secure_sums, config.seed, replace(session), [(user, update)])


def hand_on(dataset: FederatedDataset) -> dict[str, float]:
    """Measure a session of transitions of twenty clients, each by itself."""
    alone = {"federated": {"chunk_size": 1}}
    server = server_of(configured(**merged(merged(dict(METHODS["default"]), SECURE), alone)), dataset)
    assert isinstance(server.population, MaskingPopulation)
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
        found = {
            name: rounds(dataset, changes, repetitions) | parts(dataset, changes, repetitions)
            for name, changes in METHODS.items()
        }
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
