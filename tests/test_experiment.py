"""A training run: the same seed gives the same bytes, however often it is stopped, resumed, killed or prolonged."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from fedmem.checkpoint import RunDirectory, Snapshot
from fedmem.config import ExperimentConfig
from fedmem.config_reader import merged
from fedmem.errors import CheckpointError, ConfigError, FedMemError, TrainingError
from fedmem.experiment import TrainingRun
from fedmem.federated.messages import Arrays, ClientUpdate, UpdateSum
from fedmem.federated.postprocessing import Postprocessor
from tests.tiny import files_of, memories_of, tiny_config, tiny_dataset, tiny_snapshot, trained


class Noise(Postprocessor):
    """A little noise on what every client sends, and on the sum."""

    def postprocess_one_client(self, update: ClientUpdate, rng: np.random.Generator) -> ClientUpdate:
        return replace(update, delta=noisy(update.delta, rng))

    def postprocess_sum(self, total: UpdateSum, rng: np.random.Generator) -> UpdateSum:
        return replace(total, delta=noisy(total.delta, rng))


@dataclass(frozen=True)
class Scaled(Postprocessor):
    """Multiplies a sum."""

    factor: float

    def postprocess_sum(self, total: UpdateSum, rng: np.random.Generator) -> UpdateSum:
        return replace(total, delta={name: a * np.float32(self.factor) for name, a in total.delta.items()})


def noisy(arrays: Arrays, rng: np.random.Generator) -> Arrays:
    return {name: a + 1e-3 * rng.standard_normal(a.shape, np.float32) for name, a in arrays.items()}


# What a client's round may look like: (changes to the configuration, what is done to what clients send).
PATHS = {
    "chunked": ({}, ()),
    "one at a time, with noise": ({}, (Noise(),)),
    "local Adam in batches": (
        {"training": {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 8}},
        (),
    ),
    "fedprox, random memory, bpr": (
        {
            "federated": {"aggregation_method": "fedprox", "local_epochs": 2, "server_optimizer": "momentum"},
            "fedmem": {"memory_policy": "random", "prototype_aggregation": "recluster"},
            "training": {"loss": "bpr", "learning_rate": 0.1},
        },
        (),
    ),
    "frequency alone": ({"fedmem": {"recency_weight": 0.0, "memory_capacity": 3}}, ()),
    "trimmed mean": ({"federated": {"aggregation_method": "trimmed_mean"}}, ()),
    "pooled": ({"federated": {"centralised_batch": 2}}, ()),
}
SPARSE = {"save_interval": 4, "federated": {"num_rounds": 6}, "evaluation": {"eval_every": 3}}
DATASET = tiny_dataset(8, longest=18)


def config_of(path: str, **changes) -> ExperimentConfig:
    return tiny_config(**merged(merged(SPARSE, PATHS[path][0]), changes))


def snapshot_of(path: str, **changes) -> Snapshot:
    return tiny_snapshot(config_of(path, **changes), DATASET)


def complete(run: TrainingRun) -> TrainingRun:
    for _ in run.rounds():
        pass
    run.finish()
    return run


def stopped_after(run: TrainingRun, round_number: int) -> None:
    """Ask for a stop when that round is done, as Ctrl-C does."""
    done = [run.server.state.round]
    for report in run.rounds(stop=lambda: done[-1] >= round_number):
        done.append(report.round)
    assert run.server.state.round == done[-1] == max(round_number, done[0])


def killed_after(run: TrainingRun, round_number: int) -> None:
    """Drop the generator with rounds that are on no disk."""
    for report in run.rounds():
        if report.round == round_number:
            return


@pytest.fixture(scope="module", params=list(PATHS))
def whole(request, tmp_path_factory):
    """(name of the path, bytes of every file of an uninterrupted run)."""
    path = tmp_path_factory.mktemp("whole") / "run"
    trained(path, snapshot_of(request.param), postprocessors=PATHS[request.param][1])
    return request.param, files_of(path)


def start(tmp_path, path: str) -> TrainingRun:
    return TrainingRun.start(tmp_path / "run", snapshot_of(path), postprocessors=PATHS[path][1])


def resume(tmp_path, path: str, **changes) -> TrainingRun:
    return TrainingRun.resume(tmp_path / "run", config_of(path, **changes), postprocessors=PATHS[path][1])


@pytest.mark.parametrize("round_number", [1, 5])
def test_a_stopped_run_resumes_to_the_same_bytes(whole, tmp_path, round_number):
    path, expected = whole
    stopped_after(start(tmp_path, path), round_number)
    assert RunDirectory(tmp_path / "run").read_record().last == round_number
    complete(resume(tmp_path, path))
    assert files_of(tmp_path / "run") == expected


@pytest.mark.parametrize("round_number", [1, 5])
def test_a_killed_run_resumes_from_its_last_checkpoint_to_the_same_bytes(whole, tmp_path, round_number):
    path, expected = whole
    killed_after(start(tmp_path, path), round_number)
    run = resume(tmp_path, path)
    assert run.server.state.round == {1: 0, 5: 4}[round_number]  # saved by interval
    complete(run)
    assert files_of(tmp_path / "run") == expected


def test_a_run_stopped_after_every_round_gives_the_same_bytes(whole, tmp_path):
    path, expected = whole
    stopped_after(start(tmp_path, path), 1)
    for round_number in range(2, 7):
        stopped_after(resume(tmp_path, path), round_number)
    resume(tmp_path, path).finish()
    assert files_of(tmp_path / "run") == expected


def test_rounds_added_later_are_those_of_a_longer_run(whole, tmp_path):
    path, expected = whole
    snapshot = snapshot_of(path, federated={"num_rounds": 4})
    complete(TrainingRun.start(tmp_path / "run", snapshot, postprocessors=PATHS[path][1]))
    complete(resume(tmp_path, path))
    assert files_of(tmp_path / "run") == expected


def test_another_seed_gives_other_bytes(whole, tmp_path):
    path, expected = whole
    snapshot = snapshot_of(path, seed=43)
    found = files_of(trained(tmp_path / "run", snapshot, postprocessors=PATHS[path][1]).directory.path)
    for name in found.keys() & expected.keys():
        if name.endswith(("server.safetensors", "memories.safetensors", "metrics.jsonl")):
            assert found[name] != expected[name], name


def test_the_same_seed_gives_the_same_bytes_and_a_finished_run_resumes_to_itself(whole, tmp_path):
    path, expected = whole
    complete(start(tmp_path, path))
    assert files_of(tmp_path / "run") == expected
    assert {"manifest.json", "run.json", "metrics.jsonl"} < expected.keys()
    complete(resume(tmp_path, path))
    assert files_of(tmp_path / "run") == expected


# The end of a run


def test_the_best_model_is_restored_and_tested_once(tmp_path):
    config = tiny_config(federated={"num_rounds": 40, "patience": 3}, evaluation={"eval_every": 1})
    run = TrainingRun.start(tmp_path / "run", tiny_snapshot(config))
    reports = list(run.rounds())
    hits = [report.validation.mean("NDCG@10") for report in reports]
    best = hits.index(max(hits)) + 1
    assert len(reports) == best + 3 < 40
    result = run.finish()
    assert result.round == run.server.state.round == best
    record = run.directory.read_record()
    assert (record.best, record.last, record.finished) == (best, len(reports), True)
    assert record.test == result.table.to_dict()
    at_best = run.directory.checkpoints.read(best)
    for user, entries in at_best.memories.items():
        assert memories_of(run.population, best)[user].items.tolist() == entries.items.tolist()
    assert run.server.evaluate_global_model("validation").mean("NDCG@10") == max(hits)


def test_every_round_has_a_line_of_metrics(tmp_path):
    run = trained(tmp_path / "run")
    lines = run.directory.read_metrics()
    assert [line["round"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert ["validation" in line for line in lines] == [False, True] * 3
    assert all(line["metrics"]["recommendation_loss"] > 0 for line in lines)


def test_training_that_diverges_says_so_and_keeps_its_checkpoint(tmp_path):
    config = tiny_config(
        federated={"server_optimizer": "none", "server_learning_rate": 1e30, "num_rounds": 30}, save_interval=1
    )
    run = TrainingRun.start(tmp_path / "run", tiny_snapshot(config))
    with pytest.raises(FedMemError, match="diverged"):
        list(run.rounds())
    assert issubclass(TrainingError, FedMemError)


# What a resume refuses


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": 7}, "seed"),
        ({"training": {"loss": "bpr"}}, "training.loss"),
        ({"fedmem": {"memory_capacity": 7}}, "fedmem.memory_capacity"),
        ({"federated": {"chunk_size": 4}}, "federated.chunk_size"),
        ({"evaluation": {"eval_every": 2}}, "evaluation.eval_every"),
        ({"ablation": {"disable_memory": True}}, "ablation.disable_memory"),
    ],
)
def test_another_configuration_is_refused_by_its_key(tmp_path, changes, key):
    stopped_after(start(tmp_path, "chunked"), 1)
    before = files_of(tmp_path / "run")
    with pytest.raises(CheckpointError, match=rf"^{key} was"):
        resume(tmp_path, "chunked", **changes)
    assert files_of(tmp_path / "run") == before


def test_checkpoints_more_often_change_no_number(tmp_path):
    often, seldom = (
        files_of(trained(tmp_path / str(n), snapshot_of("chunked", save_interval=n)).directory.path) for n in (1, 100)
    )
    assert often.keys() == seldom.keys()
    assert {name for name in often if often[name] != seldom[name]} == {"manifest.json"}


def test_a_device_that_is_not_there_leaves_nothing_behind(tmp_path):
    with pytest.raises(ConfigError, match="device"):
        TrainingRun.start(tmp_path / "run", tiny_snapshot(tiny_config(device="cuda:99")))
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_resumed_without_its_postprocessors(tmp_path):
    """By the command line or a trainer it would go on without noise, and say nothing."""
    snapshot = snapshot_of("chunked")
    stopped_after(TrainingRun.start(tmp_path / "run", snapshot, [Noise(), Scaled(0.5)]), 1)
    for others, said in (((), "none"), ([Noise(), Scaled(0.25)], r"Scaled\(factor=0\.25\)")):
        with pytest.raises(CheckpointError, match=rf"Noise\(\), Scaled\(factor=0\.5\), and now by .*{said}"):
            TrainingRun.resume(tmp_path / "run", snapshot.config, others)
    resumed = TrainingRun.resume(tmp_path / "run", snapshot.config, [Noise(), Scaled(0.5)])
    assert resumed.server.state.round == 1
    with pytest.raises(CheckpointError, match="by none, and now by Noise"):
        TrainingRun.resume(trained(tmp_path / "plain", snapshot).directory.path, snapshot.config, [Noise()])
