"""Robust aggregations: means made by hand, a poisoned minority that moves them little, and whole rounds."""

import numpy as np
import pytest

from fedmem.config_reader import load_config
from fedmem.errors import ConfigError
from fedmem.federated.aggregation import AGGREGATIONS, FederatedAggregator, weighted
from fedmem.federated.messages import ClientUpdate
from fedmem.federated.private_weights import length
from fedmem.federated.round import broadcast_of
from fedmem.federated.start import initial_state
from tests.tiny import population_of, tiny_config, tiny_snapshot, total

ROBUST = [name for name, each in AGGREGATIONS.items() if each.robust]
FOUR = [[1.0, -2.0], [2.0, 0.0], [3.0, 2.0], [10.0, 100.0]]


def mean_of(method: str, changes: list[list[float]], claims: dict[int, int] | None = None, **federated) -> list[float]:
    config = tiny_config(federated={"aggregation_method": method, **federated})
    sent = [ClientUpdate((claims or {}).get(i, 1), {"a": np.array(change)}) for i, change in enumerate(changes)]
    together = total(weighted(one, config.federated, config.fedmem).as_one_sender() for one in sent)
    return FederatedAggregator(config.federated, config.fedmem).average(together)["a"].tolist()


def test_each_is_the_mean_that_its_paper_says():
    assert mean_of("median", FOUR) == [2.5, 1.0]
    assert mean_of("trimmed_mean", FOUR, trimmed_share=0.25) == [2.5, 1.0]
    assert mean_of("trimmed_mean", FOUR, trimmed_share=0.24) == [4.0, 25.0], "less than one of four"
    assert mean_of("norm_clipping", [[3.0, 4.0], [0.0, 5.0], [0.0, 500.0]]) == pytest.approx([1.0, 14 / 3])


@pytest.mark.parametrize("method", ROBUST)
def test_one_of_ten_moves_the_mean_no_further_than_the_others_do(method):
    honest = [[float(value), 1.0] for value in range(9)]
    poisoned = mean_of(method, [*honest, [1e30, -1e30]])
    assert 0 <= poisoned[0] <= 8
    assert abs(poisoned[1]) <= 1.5


@pytest.mark.parametrize("method", ROBUST)
def test_a_claim_of_many_samples_counts_for_nothing(method):
    assert mean_of(method, FOUR, {3: 10**9}) == mean_of(method, FOUR)


@pytest.mark.parametrize("method", ROBUST)
def test_a_round_gathers_what_each_client_changes_in_chunks_of_any_size(method):
    gathered = {}
    for size in (1, 5):
        config = tiny_config(federated={"aggregation_method": method, "chunk_size": size})
        snapshot = tiny_snapshot(config)
        population = population_of(snapshot)
        state = initial_state(config, population.model, snapshot.features)
        found = total(population.train(population.dataset.trainable_users, broadcast_of(state)))
        assert (found.delta, found.item_rows) == ({}, None), "no sum is sent beside them"
        gathered[size] = sorted(found.changes.each, key=length)  # a chunk's clients come by their length
    assert len(gathered[1]) == len(gathered[5]) == 12
    for one, other in zip(gathered[1], gathered[5], strict=True):
        for name, value in one.items():
            np.testing.assert_allclose(other[name], value, rtol=1e-5, atol=1e-6)


def test_without_trimming_it_is_the_mean_over_clients():
    config = tiny_config(federated={"aggregation_method": "trimmed_mean", "trimmed_share": 0.0})
    snapshot = tiny_snapshot(config)
    population = population_of(snapshot)
    state = initial_state(config, population.model, snapshot.features)
    users, broadcast = population.dataset.trainable_users, broadcast_of(state)
    mean = FederatedAggregator(config.federated, config.fedmem).average(total(population.train(users, broadcast)))
    plain = config.model_copy(
        update={"federated": config.federated.model_copy(update={"aggregation_method": "fedavg"})}
    )
    alone = population_of(tiny_snapshot(plain))
    each = [total(alone.train(users[[place]], broadcast)).mean_delta() for place in range(len(users))]
    for name, value in mean.items():
        np.testing.assert_allclose(value, np.mean([one[name] for one in each], axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("secure_sums.enabled", "true"),
        ("privacy.weights_noise", "0"),
        ("federated.row_normalisation", "true"),
        ("federated.centralised_batch", "8"),
    ],
)
def test_what_hides_changes_is_refused_by_name(setting, value):
    with pytest.raises(ConfigError, match=f"median looks at each client's change, .* {setting.rsplit('_', 1)[0]}"):
        load_config(None, ("federated.aggregation_method=median", "ablation.disable_moe=true", f"{setting}={value}"))
