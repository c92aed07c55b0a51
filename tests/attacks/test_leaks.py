"""The leak meter on trained runs: what must leak does, what cannot does not, and nothing of the run changes."""

import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedmem.attacks import measure_leaks
from fedmem.attacks.recording import grouped, record
from fedmem.checkpoint import RunDirectory
from fedmem.errors import CheckpointError, ConflictError
from fedmem.federated.postprocessing import Postprocessor
from fedmem.memory.transitions import TransitionTable
from tests.tiny import files_of, tiny_config, tiny_dataset, tiny_snapshot, trained

CLIENTS = 8
MODELS = {"models_cohort", "models_cohort_all", "models_round", "models_round_all"}


def run_of(path, postprocessors=(), **changes) -> RunDirectory:
    # Histories short enough that users have not taken almost everything.
    snapshot = tiny_snapshot(tiny_config(**changes), tiny_dataset(20, longest=12))
    return trained(path, snapshot, postprocessors).directory


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDirectory:
    return run_of(tmp_path_factory.mktemp("attacked") / "run")


@pytest.fixture(scope="module")
def leaks(run):
    return {leak.attack: leak for leak in measure_leaks(run, 1, CLIENTS).leaks}


def test_what_names_a_history_is_found_to(leaks):
    assert leaks["transition_alone"].measured == 1.0
    assert leaks["interaction"].measured > 0.9
    assert leaks["linkage"].measured > 3 * leaks["linkage"].chance
    assert leaks["prototype_inversion"].measured > 1.5 * leaks["prototype_inversion"].chance
    assert leaks["prototype_nearest"].measured > leaks["prototype_nearest"].chance


def test_pairs_of_few_users_are_told_from_the_table(run, leaks):
    """Beside the same counted another way."""
    rare, clients = leaks["membership_rare"], record(run, CLIENTS, 20).clients
    assert rare.chance == 0.5
    assert rare.measured > rare.chance
    dataset, window = run.read_snapshot().dataset, run.read_config().transitions.window
    had = Counter(pair for user in dataset.trainable_users for pair in within(dataset.training_history(user), window))
    pairs = [(pair, 1) for one in clients for pair in set(pairwise(one.history.tolist()))]
    for one in clients:
        last = (int(one.history[-1]), int(dataset.validation_target(one.user)))
        pairs += [(last, 0)] * (last not in within(one.history, window))
    few = [(pair, member) for pair, member in pairs if had[pair] - member <= 1]
    state = run.checkpoints.read_server(run.read_record().last)
    table = TransitionTable.of(state.transitions, run.read_config().transitions)
    weights = [dict(zip(table.items[i], table.weights[i], strict=True)).get(j, 0.0) for (i, j), _ in few]
    assert rare.measured == pytest.approx(roc_auc_score([member for _, member in few], weights))


def within(history, window):
    """All pairs of a history, at most so many steps apart."""
    items = history.tolist()
    return {(items[i], items[j]) for i in range(len(items)) for j in range(i + 1, min(i + window + 1, len(items)))}


def test_a_sum_says_less_than_one_client(leaks):
    for alone, together in (("interaction", "interaction_decoded"), ("transition_alone", "transition")):
        assert leaks[together].measured < leaks[alone].measured
        assert leaks[together].popularity == leaks[alone].popularity


def test_who_keeps_all_models_knows_the_mean_update_and_two_say_less(leaks):
    """One cohort of all eight, who are added up as in a round."""
    assert leaks["models_cohort_all"].measured == pytest.approx(leaks["interaction_decoded"].measured)
    assert leaks["models_cohort"].measured < leaks["models_cohort_all"].measured
    assert leaks["models_round_all"].what.endswith("from all models so far, a round's 10 clients between them")
    assert leaks["models_round_all"].popularity != leaks["models_cohort_all"].popularity


def test_noise_on_the_weights_is_in_the_models_that_follow(tmp_path):
    noisy = {"weights_noise": 5.0, "weights_clip": 0.5}
    run = run_of(tmp_path / "run", privacy=noisy, ablation={"disable_moe": True}, federated={"num_rounds": 2})
    found = {leak.attack: leak.measured for leak in measure_leaks(run, 1, CLIENTS).leaks}
    assert found["interaction_decoded"] > 0.6, "whoever adds up sees the sum before the noise"
    assert found["models_cohort_all"] == pytest.approx(0.5, abs=0.1)


def test_pooled_training_has_no_cohorts(tmp_path):
    run = run_of(tmp_path / "run", federated={"centralised_batch": 4, "num_rounds": 1})
    assert not MODELS & {leak.attack for leak in measure_leaks(run, 1, CLIENTS).leaks}


def test_the_same_again_and_nothing_of_the_run_changes(run, leaks):
    before = files_of(run.path)
    again = measure_leaks(run, 1, CLIENTS)
    assert {leak.attack: leak for leak in again.leaks} == leaks
    assert (again.round, again.clients) == (6, CLIENTS)
    assert files_of(run.path) == before


def test_a_run_of_a_machine_with_a_gpu_is_attacked_on_any(run, leaks, tmp_path):
    moved = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "run")))
    snapshot = moved.read_snapshot()
    elsewhere = snapshot.config.model_copy(update={"device": "cuda:99"})
    moved.write_manifest(replace(snapshot, config=elsewhere))
    assert {leak.attack: leak for leak in measure_leaks(moved, 1, CLIENTS).leaks} == leaks


def test_clients_are_attacked_with_what_they_really_send(run):
    recording = record(run, CLIENTS, CLIENTS)
    dataset = recording.snapshot.dataset
    assert len({client.user for client in recording.clients}) == CLIENTS
    for client in recording.clients:
        assert np.array_equal(client.history, dataset.training_history(client.user))
        assert client.update.num_samples == len(client.history)
        assert np.isin(client.remembered, client.history).all()
        assert any(
            not np.array_equal(client.update.delta[name], client.again.delta[name]) for name in client.update.delta
        )


def test_more_clients_than_there_are_means_all(run):
    assert measure_leaks(run, 1, 1000).clients == len(run.read_snapshot().dataset.trainable_users)


def test_a_run_without_memory_leaks_none(tmp_path):
    run = run_of(tmp_path / "run", ablation={"disable_memory": True})
    found = {leak.attack for leak in measure_leaks(run, 1, CLIENTS).leaks}
    assert found == {"interaction", "interaction_decoded", *MODELS, "membership_model", "linkage"}


def test_without_texts_a_memory_is_told_from_the_id_embeddings(tmp_path):
    snapshot = tiny_snapshot(dataset=tiny_dataset(20, longest=12), text=False)
    found = {leak.attack: leak for leak in measure_leaks(trained(tmp_path / "run", snapshot).directory, 1, 4).leaks}
    assert found["prototype_inversion"].measured > found["prototype_inversion"].chance


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """The leaks of a run with secure sums, and of its cohorts of four."""
    secure = {"enabled": True, "minimum_cohort": 4, "neighbours": 4}
    run = run_of(tmp_path_factory.mktemp("secured") / "run", secure_sums=secure, federated={"num_rounds": 3})
    return measure_leaks(run, 1, 20), {leak.attack: leak for leak in measure_leaks(run, 1, 20, cohort=4).leaks}


def test_masked_messages_of_one_client_say_nothing(secured):
    """With as few clients as here an AUC of nothing is off by some hundredths."""
    report, leaks = secured
    assert report.secure_sums
    for attack in ("interaction", "transition_alone"):
        assert leaks[attack].measured == pytest.approx(0.5, abs=0.1)
        assert "masked" in leaks[attack].what
    inverted = leaks["prototype_inversion"]
    assert inverted.measured == pytest.approx(inverted.chance, abs=0.15)
    assert leaks["linkage"].measured <= 0.2


def test_sums_of_a_cohort_say_the_same_masked_or_not_and_less_of_more_clients(secured, run):
    report, leaks = secured
    together = {leak.attack: leak for leak in report.leaks}
    assert (report.cohort, leaks["transition"].what) == (
        20,
        "Items of a history, from transitions in the sum over 4 clients",
    )
    for attack in ("interaction_decoded", "transition", "prototype_decoded"):
        assert leaks[attack].measured > leaks[attack].chance
        assert together[attack].measured - together[attack].chance < leaks[attack].measured - leaks[attack].chance
    plain = {leak.attack: leak for leak in measure_leaks(run, 1, 20, cohort=4).leaks}
    assert leaks["transition"] == plain["transition"]


def test_clients_who_are_left_over_join_the_last_cohort():
    assert [len(group) for group in grouped(range(45), 20)] == [20, 25]
    assert [len(group) for group in grouped(range(8), 20)] == [8]


class Halved(Postprocessor):
    """Stands for clipping or noise."""


def test_what_was_postprocessed_cannot_be_repeated(tmp_path):
    with pytest.raises(ConflictError, match="postprocessed by Halved"):
        measure_leaks(run_of(tmp_path / "run", [Halved()]), 1, CLIENTS)


def test_a_run_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="no run here"):
        measure_leaks(RunDirectory(tmp_path / "none"), 1, CLIENTS)
