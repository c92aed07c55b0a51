"""One full-history local step with a server optimiser is centralised training: the same numbers, to 1e-10."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fedmem.federated.parameters import parameter_arrays
from fedmem.federated.server import FedMemServer
from fedmem.federated.start import build_model, initial_state
from fedmem.model.recommender import Reader, UR4RecV2MoE
from tests.reference.population import SlowPopulation
from tests.tiny import population_of, tiny_config, tiny_dataset, tiny_snapshot

ROUNDS = 20
PLAIN = {
    "model": {"sasrec_dropout": 0.0, "moe_dropout": 0.0, "max_seq_len": 12},
    "training": {"crop_probability": 0.0, "loss": "full_softmax"},
    "evaluation": {"eval_every": 1000},
    "federated": {"server_learning_rate": 0.01, "server_warmup_steps": 5, "server_beta2": 0.97, "server_epsilon": 1e-6},
}
# Histories of at most L + 1 training items: one segment each.
DATASET = tiny_dataset(10, shortest=5, longest=15)


def server_of(snapshot, population_of=population_of):
    population = population_of(snapshot, double=True)
    state = initial_state(snapshot.config, population.model, snapshot.features)
    return FedMemServer(snapshot.config, snapshot.dataset.trainable_users, population, state)


def pooled_loss(model: UR4RecV2MoE, histories: list[np.ndarray]) -> torch.Tensor:
    """Mean cross-entropy over all positions of all users, by torch's own formula."""
    width = max(map(len, histories))
    items = torch.tensor([[*history, *[0] * (width - len(history))] for history in histories])
    scores = model(items[:, :-1], Reader(memory=None, target_index=torch.arange(width).expand(len(items), -1)))
    return F.cross_entropy(scores[..., 1:].flatten(0, 1), items.flatten() - 1, ignore_index=-1)


def centralised(snapshot, cohorts) -> dict[str, np.ndarray]:
    config = snapshot.config.federated
    model = build_model(snapshot.config, snapshot.dataset.num_items, snapshot.features).double()
    optimizer = torch.optim.Adam(
        model.parameters(),
        lr=config.server_learning_rate,
        betas=(config.server_beta1, config.server_beta2),
        eps=config.server_epsilon,
    )
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / config.server_warmup_steps))
    for cohort in cohorts:
        optimizer.zero_grad()
        pooled_loss(model, [snapshot.dataset.training_history(user) for user in cohort]).backward()
        optimizer.step()
        warmup.step()
    return parameter_arrays(model)


@pytest.mark.parametrize("clients", [population_of, SlowPopulation], ids=["chunked", "one at a time"])
@pytest.mark.parametrize(
    ("ablation", "text"), [({"disable_moe": True}, False), ({"disable_memory": True}, True)], ids=["sasrec", "text"]
)
def test_federated_rounds_are_centralised_adam(clients, ablation, text):
    config = tiny_config(**PLAIN, ablation=ablation)
    snapshot = tiny_snapshot(config, DATASET, text=text, image=False)
    server = server_of(snapshot, clients)
    cohorts = []
    for _ in range(ROUNDS):
        cohorts.append(server.select_clients().tolist())
        server.run_round()
    start = parameter_arrays(build_model(config, DATASET.num_items, snapshot.features))
    expected = centralised(snapshot, cohorts)
    for name, value in server.state.parameters.items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-10, err_msg=name)
    moved = max(np.abs(expected[name] - start[name]).max() for name in start)
    assert moved > 0.05


def test_a_pass_in_batches_takes_one_step_a_batch():
    config = tiny_config(**PLAIN, ablation={"disable_moe": True})
    config = config.model_copy(
        update={"federated": config.federated.model_copy(update={"centralised_batch": 2, "client_fraction": 1.0})}
    )
    snapshot = tiny_snapshot(config, DATASET, text=False, image=False)
    server = server_of(snapshot)
    users = server.select_clients().tolist()
    report = server.run_round()
    assert server.state.optimizer.step == 5
    assert report.metrics["clients"] == 10
    expected = centralised(snapshot, [users[i : i + 2] for i in range(0, 10, 2)])
    for name, value in server.state.parameters.items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-10, err_msg=name)
