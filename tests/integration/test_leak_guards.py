"""No validation or test item reaches training, and nothing is learned where there is nothing to learn."""

from collections.abc import Sequence

import numpy as np
import pytest

from fedmem.config import ExperimentConfig, FeaturesConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Item
from fedmem.evaluation.baselines import chance
from fedmem.evaluation.evaluate import ranks_of_several
from fedmem.evaluation.metric_table import metric_values
from fedmem.evaluation.ranking_metrics import target_rank
from fedmem.experiment import TrainingRun
from fedmem.features.build import Encoding, build_user_features
from fedmem.federated.client_host import ClientScorer
from fedmem.federated.messages import Broadcast
from fedmem.federated.parameters import load_parameters
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.federated.server import FedMemServer
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.federated.start import initial_state
from tests.tiny import ITEMS, client_of, memories_of, population_of, tiny_config, tiny_features, tiny_snapshot, walks

# Data A and B: the same but for the last two items of every user.
SEQUENCES = walks(12, ITEMS, seed=0)
OTHER_ENDS = [[*sequence[:-2], sequence[-1] % ITEMS + 1, sequence[-2] % ITEMS + 1] for sequence in SEQUENCES]
DATA_A, DATA_B = (FederatedDataset.from_sequences(found, ITEMS) for found in (SEQUENCES, OTHER_ENDS))


def trained_bytes(path, dataset: FederatedDataset, **changes) -> dict[str, bytes]:
    """Everything that training left behind, after a few rounds."""
    run = TrainingRun.start(path, tiny_snapshot(tiny_config(**changes), dataset))
    list(run.rounds())
    state = run.server.state
    found = {
        f"{group}/{name}": value for group in ("parameters", "averaged") for name, value in vars(state)[group].items()
    }
    found |= {f"second/{name}": value for name, value in state.optimizer.second.items()}
    found |= {f"prototypes/{block}": sums for block, sums in state.global_memory.sums.items()}
    memories = memories_of(run.population, state.round)
    found |= {f"{user}/{name}": value for user, entries in memories.items() for name, value in vars(entries).items()}
    return {name: value.tobytes() for name, value in found.items()}


@pytest.mark.parametrize("loss", ["bpr", "sampled_softmax", "full_softmax"])
def test_validation_and_test_items_change_no_byte_of_what_is_trained(tmp_path, loss):
    training = {"loss": loss, "crop_probability": 0.5}
    a = trained_bytes(tmp_path / "a", DATA_A, training=training)
    b = trained_bytes(tmp_path / "b", DATA_B, training=training)
    assert a == b
    assert any("id_embedding" in name for name in a)


def test_another_training_item_does_change_them(tmp_path):
    """So that the test above can fail."""
    changed = [[*sequence[:-3], sequence[-3] % ITEMS + 1, *sequence[-2:]] for sequence in SEQUENCES]
    other = FederatedDataset.from_sequences(changed, ITEMS)
    assert trained_bytes(tmp_path / "a", DATA_A) != trained_bytes(tmp_path / "b", other)


def test_popularity_counts_training_items_only():
    np.testing.assert_array_equal(DATA_A.training_popularity(), DATA_B.training_popularity())
    assert DATA_A.training_popularity().sum() == sum(len(sequence) - 2 for sequence in SEQUENCES)


def texts_read(dataset: FederatedDataset) -> list[list[str]]:
    """The items that each preference text is written from."""
    read: list[list[str]] = []

    def writer(items: Sequence[Item]) -> str:
        read.append([item.item_id for item in items])
        return ""

    build_user_features(dataset, tiny_features(), Encoding(FeaturesConfig(), "none"), "auto", writer)
    return read


def test_preference_texts_read_the_first_half_of_the_training_history():
    assert texts_read(DATA_A) == texts_read(DATA_B)
    expected = [[str(item) for item in sequence[: (len(sequence) - 2) // 2]] for sequence in SEQUENCES]
    assert texts_read(DATA_A) == expected


# Nothing to learn, nothing learned

USERS, CATALOGUE = 150, 60
LEARNING = {
    "model": {"sasrec_hidden_dim": 16, "max_seq_len": 12, "sasrec_num_blocks": 1, "sasrec_dropout": 0.0},
    "training": {"num_negatives": 30},
    "fedmem": {"warmup_rounds": 5},
    "federated": {
        "num_rounds": 1000,
        "client_fraction": 0.4,
        "server_learning_rate": 0.02,
        "chunk_size": 60,
        "server_averaging": 0.5,
    },
    "evaluation": {"eval_every": 1000},
}


def noise(num_users: int, seed: int) -> FederatedDataset:
    """Items drawn uniformly, none twice: what is unseen tells nothing."""
    rng = np.random.default_rng(seed)
    sequences = [(rng.permutation(CATALOGUE)[: rng.integers(8, 16)] + 1).tolist() for _ in range(num_users)]
    return FederatedDataset.from_sequences(sequences, CATALOGUE)


def learn(dataset: FederatedDataset, rounds: int, **changes) -> tuple[SimulatedPopulation, FedMemServer]:
    config = ExperimentConfig.model_validate(tiny_config(**LEARNING).model_dump() | changes)
    snapshot = tiny_snapshot(config, dataset)
    population = population_of(snapshot)
    state = initial_state(config, population.model, snapshot.features)
    server = FedMemServer(config, dataset.trainable_users, population, state)
    for _ in range(rounds):
        server.run_round()
    return population, server


def hits(population: SimulatedPopulation, server: FedMemServer, dataset: FederatedDataset) -> float:
    """HR@10 on test, each client with its own memory."""
    load_parameters(population.model, server.state.averaged)
    contexts = population.host.contexts(dataset.evaluated_users, server.state.round)
    scorer = ClientScorer(ModelScorer(population.model, server.state.global_memory), contexts)
    (ranks,) = ranks_of_several(dataset, scorer, "test", dataset.evaluated_users)
    return float(metric_values("HR@10", ranks).mean())


def standard_errors_from_chance(found: float, dataset: FederatedDataset, users: int) -> float:
    expected = chance(dataset, "test").mean("HR@10")
    return (found - expected) / np.sqrt(expected * (1 - expected) / users)


def with_drawn_targets(dataset: FederatedDataset, seed: int) -> FederatedDataset:
    """The same histories, every test item replaced by a uniformly drawn one that the user has not seen."""
    rng = np.random.default_rng(seed)
    sequences = []
    for user in range(dataset.num_users):
        history = dataset.test_input(user).tolist()
        unseen = np.setdiff1d(np.arange(1, dataset.num_items + 1), history)
        sequences.append([*history, int(rng.choice(unseen))])
    return FederatedDataset.from_sequences(sequences, dataset.num_items)


def test_a_trained_model_falls_to_chance_on_drawn_targets():
    dataset = FederatedDataset.from_sequences(walks(USERS, CATALOGUE, seed=1, shortest=8, longest=16), CATALOGUE)
    population, server = learn(dataset, 30)
    assert standard_errors_from_chance(hits(population, server, dataset), dataset, USERS) > 10
    drawn = with_drawn_targets(dataset, seed=2)
    assert abs(standard_errors_from_chance(hits(population, server, drawn), drawn, USERS)) < 4


@pytest.mark.parametrize("loss", ["bpr", "full_softmax"])
def test_on_noise_a_trained_model_stays_at_chance(loss):
    dataset = noise(USERS, seed=3)
    config = tiny_config(**LEARNING).training.model_dump() | {"loss": loss}
    population, server = learn(dataset, 30, training=config)
    assert abs(standard_errors_from_chance(hits(population, server, dataset), dataset, USERS)) < 4


def test_on_noise_a_locally_trained_client_stays_at_chance():
    """Its negatives are drawn without its training items: were its test item left out too, it would stand out."""
    dataset = noise(40, seed=4)
    training = {"loss": "bpr", "optimizer": "adam", "learning_rate": 0.01, "num_negatives": 30}
    population, server = learn(dataset, 0, training=training, federated={"local_epochs": 10})
    ranks = []
    for user in dataset.trainable_users.tolist():
        client = client_of(population, user)
        broadcast = Broadcast(6, server.state.parameters, server.state.global_memory)
        delta = client.participate(population.host.trainer, broadcast).delta
        load_parameters(population.model, {name: p + delta[name] for name, p in server.state.parameters.items()})
        history = dataset.test_input(user)
        context = UserContext(client.memory.query(), population.host.user_features.of(user))
        scores = ModelScorer(population.model, server.state.global_memory).score([context], [history])
        ranks.append(target_rank(scores, np.array([dataset.test_target(user)]), [history])[0])
    found = float(np.mean(np.array(ranks) <= 10))
    assert abs(standard_errors_from_chance(found, dataset, 40)) < 4
