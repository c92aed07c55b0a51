"""Trainers as processes: frozen, side by side, asked to stop, to pause, to hand over, and on disks that are full."""

import json
import shutil
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.eraser import Eraser
from fedmem.bucket import Runs
from fedmem.config_reader import merged
from fedmem.errors import ConfigError, ConflictError, NodesAwayError
from fedmem.evaluation.baselines import EASE, ItemItemCounts, Popularity
from fedmem.evaluation.evaluate import evaluate
from fedmem.experiment import TrainingRun
from fedmem.features.model_files import ModelFiles
from fedmem.features.preference_endpoint import EndpointWriter
from fedmem.features.text import TextEncoder
from fedmem.interruption import heed
from fedmem.storage import schema
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event
from fedmem.storage.engine import writing
from fedmem.storage.erasures import ErasureStore
from fedmem.storage.metrics import MetricStore
from tests import forks
from tests.end_to_end.products import ROUNDS, Product
from tests.waiting import PATIENCE, until, until_it_says
from trainer.dataset import load_dataset

LONG = {"federated": {"num_rounds": 2000}}


def round_of(product: Product, job_id: int) -> int:
    return product.jobs.get(job_id).round


@pytest.fixture
def product(tmp_path) -> Product:
    return Product.made(tmp_path)


@pytest.fixture
def started(product):
    """``started()`` -> a trainer that is ended with the test."""
    processes = []

    def start(on=product):
        processes.append(on.start("-m", "trainer"))
        return processes[-1]

    yield start
    for process in processes:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        process.stdout.close()


def ended(process) -> tuple[int, str]:
    output, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, output


def freeze(trainer: forks.Forked, product: Product) -> None:
    """Stop a trainer where it stands, but not within a transaction, which would lock all others out of SQLite."""

    def stopped_between_transactions() -> bool:
        trainer.send_signal(signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(product.url.removeprefix("sqlite:///"), timeout=0)) as connection:
                connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            trainer.send_signal(signal.SIGCONT)
            return False
        return True

    until(stopped_between_transactions, "a moment without a transaction", pause=0.01)


def test_a_frozen_trainer_that_lost_its_lease_writes_nothing_more(product, started):
    job = product.queue({"federated": {"num_rounds": 60}})
    frozen = started(replace(product, lease_seconds=1.0))
    until(lambda: round_of(product, job.id) >= 3, "three rounds")
    freeze(frozen, product)
    until(lambda: product.jobs.get(job.id).lease_expires_at < time.time(), "the lease's end")
    product.train()
    assert product.jobs.get(job.id).state == "succeeded"
    before = product.rows(job.id), product.jobs.get(job.id), product.jobs.logs(job.id), product.files()
    resumed = time.time()
    frozen.send_signal(signal.SIGCONT)
    until(
        lambda: any(trainer.seen_at > resumed for trainer in product.jobs.trainers()), "the thawed trainer's next look"
    )
    assert (product.rows(job.id), product.jobs.get(job.id), product.jobs.logs(job.id), product.files()) == before
    frozen.terminate()
    code, output = ended(frozen)
    assert code == 0
    assert "nothing more is written" in output


def test_a_dead_trainers_job_is_taken_over_by_one_whose_clock_was_set_back(product, started):
    job = product.queue({"federated": {"num_rounds": 400}})
    first = started()
    until(lambda: round_of(product, job.id) >= 2, "two rounds")
    first.kill()
    product.let_lease_end(job.id)
    code = (
        "import sys, time\n"
        "now = time.time; time.time = lambda: now() - 3600\n"
        "from trainer.__main__ import main; sys.argv = ['trainer', '--until-idle']; main()"
    )
    second = product.start("-c", code)
    until(lambda: product.jobs.get(job.id).attempts == 2, "a second trainer")
    product.jobs.stop(job.id)
    assert ended(second)[0] == 0
    assert product.jobs.get(job.id).state == "stopped"


def test_two_trainers_share_ten_jobs_and_train_each_once(product, started):
    ids = [product.queue({"seed": seed}).id for seed in range(10)]
    trainers = [started(), started()]
    until(lambda: all(product.jobs.get(number).state == "succeeded" for number in ids), "ten finished jobs")
    jobs = [product.jobs.get(number) for number in ids]
    assert [job.attempts for job in jobs] == [1] * 10
    messages = [line.message for number in ids for line in product.jobs.logs(number)]
    takers = [message.split(" trainer ")[1].split(" after ")[0] for message in messages if "taken up" in message]
    assert len(takers) == 10
    assert len(set(takers)) == 2
    for trainer in trainers:
        trainer.terminate()
        assert ended(trainer)[0] == 0


def test_a_job_is_paused_resumed_and_stopped_within_a_chunk_each(product, started):
    job = product.queue(LONG)
    started()
    until(lambda: round_of(product, job.id) >= 2, "two rounds")
    product.jobs.pause(job.id)
    until(lambda: product.jobs.get(job.id).state == "paused", "a pause")
    paused_at = round_of(product, job.id)
    time.sleep(0.3)
    assert round_of(product, job.id) == paused_at
    product.jobs.resume(job.id)
    until(lambda: round_of(product, job.id) > paused_at, "a round after the pause")
    product.jobs.stop(job.id)
    until(lambda: product.jobs.get(job.id).state == "stopped", "a stop")
    found = product.jobs.get(job.id)
    assert found.message == f"stopped on request after round {found.round}"
    assert found.model_version == f"job-{job.id}-round-{found.best_round}"
    assert product.directory(job.id).checkpoints.read(found.round).server.round == found.round
    with pytest.raises(ConflictError, match="start from it"):
        product.jobs.resume(job.id)


ENDLESS = {
    "training": {"batch_size": 1},
    "federated": {"local_epochs": 10_000, "chunk_size": 10_000, "client_fraction": 1.0},
}


COUNTING = """
import sys
from fedmem.federated.several_steps import SeveralSteps
from trainer.control import Control
begun, at_stop, step, ask, end = [0], [], SeveralSteps._step, Control._ask, Control.end
def counted(*given):
    begun[0] += 1
    return step(*given)
def asked(self):
    ask(self)
    if self._desired == "stopped" and not at_stop:
        at_stop.append(begun[0])
def ended(self):
    if at_stop:
        print("steps before and after the stop:", at_stop[0], begun[0] - at_stop[0], flush=True)
    end(self)
SeveralSteps._step, Control._ask, Control.end = counted, asked, ended
from trainer.__main__ import main
sys.argv = ["trainer", "--until-idle"]
main()
"""


def test_a_stop_ends_the_step_that_is_being_taken(product):
    """Ten thousand epochs in batches of one, all clients in one chunk: counted is what begins once it was read."""
    job = product.queue(ENDLESS)
    process = product.start("-c", COUNTING)
    until(lambda: list(product.directory(job.id).path.glob(".scratch-*")), "the first round")
    product.jobs.stop(job.id)
    code, output = ended(process)
    assert code == 0, output
    counts = output.partition("steps before and after the stop:")[2].split()[:2]
    assert int(counts[1]) <= 1, output  # one may begin while the other thread counts
    assert product.jobs.get(job.id).state == "stopped"


def test_a_stop_is_heeded_by_worker_processes_within_a_chunk_whose_end_would_take_hours(product, started):
    started()
    for settings in (ENDLESS | {"workers": 2}, ENDLESS | {"workers": 2, "training": {"loss": "bpr"}}):
        job = product.queue(settings)
        folder = product.directory(job.id).path
        until(lambda folder=folder: list(folder.glob(".scratch-*")), "the first round")
        product.jobs.stop(job.id)
        until(lambda job=job: product.jobs.get(job.id).state != "running", "a stop")
        assert (product.jobs.get(job.id).state, round_of(product, job.id)) == ("stopped", 0)


def test_a_stop_is_heeded_within_a_step_of_taking_the_snapshot(product, monkeypatch):
    job = product.queue()

    def without_end(*_):
        product.jobs.stop(job.id)
        until(heed, "the stop")

    monkeypatch.setattr("trainer.job_snapshot.take_snapshot", without_end)
    product.train()
    assert (product.jobs.get(job.id).state, round_of(product, job.id)) == ("stopped", 0)


def test_a_stop_does_not_wait_for_an_encoder_that_is_loaded_or_downloaded(product, monkeypatch):
    job, released, loaded = product.queue(), threading.Event(), []

    def loading(*_):
        product.jobs.stop(job.id)
        loaded.append(released.wait(PATIENCE))

    monkeypatch.setattr("trainer.job_snapshot.take_snapshot", loading)
    product.train()
    assert not loaded
    released.set()
    assert product.jobs.get(job.id).state == "stopped"


COMPUTING = """
import sys, torch
import trainer.job_snapshot
def take_snapshot(*_):
    print("begun", flush=True)
    while True:
        torch.ones(500, 500) @ torch.ones(500, 500)
trainer.job_snapshot.take_snapshot = take_snapshot
from trainer.__main__ import main
sys.argv = ["trainer"]
main()
"""


def test_sigterm_ends_a_trainer_in_good_order_while_it_encodes_what_takes_hours(product):
    job = product.queue()
    process = product.start("-c", COMPUTING)
    until_it_says(process.stdout, "begun")
    process.terminate()
    code, output = ended(process)
    assert (code, product.jobs.get(job.id).state) == (0, "queued"), output


def test_a_stop_is_heeded_long_before_the_next_heartbeat(tmp_path):
    product = Product.made(tmp_path, lease_seconds=300.0)  # a heartbeat every hundred seconds
    job = product.queue(LONG)
    trainer = product.start("-m", "trainer", "--until-idle")
    until(lambda: round_of(product, job.id) >= 2, "two rounds")
    product.jobs.stop(job.id)
    code, output = ended(trainer)
    assert code == 0
    assert product.jobs.get(job.id).state == "stopped", output


def test_sigterm_hands_the_job_back_and_the_next_trainer_finishes_it_to_the_same_bits(product, started, tmp_path):
    job = product.queue({"federated": {"num_rounds": 30}})
    first = started()
    until(lambda: round_of(product, job.id) >= 2, "two rounds")
    first.terminate()
    code, output = ended(first)
    assert code == 0, output
    assert product.jobs.get(job.id).state == "queued"
    assert 2 <= round_of(product, job.id) < 30
    product.train()
    (tmp_path / "other").mkdir()
    whole = Product.made(tmp_path / "other")
    whole.queue({"federated": {"num_rounds": 30}})
    whole.train()
    assert product.outcome(job.id) == whole.outcome(1)


def test_a_job_that_starts_from_a_finished_one_is_a_longer_job(product, tmp_path):
    first = product.queue()
    product.train()
    longer = {"federated": {"num_rounds": ROUNDS + 4}}
    second = product.queue(longer, start_from=first.id, snapshot="same")
    product.train()
    (tmp_path / "other").mkdir()
    whole = Product.made(tmp_path / "other")
    job = whole.queue(longer)
    whole.train()
    expected, found = whole.outcome(job.id), product.outcome(second.id)
    for outcome in (
        expected,
        found,
    ):  # of the earlier rounds fewer checkpoints are kept, and models bear their job's number
        outcome["rows"]["rounds"] = [row[:2] for row in outcome["rows"]["rounds"]]
        outcome["rows"]["models"] = [row[1] for row in outcome["rows"]["models"]]
    assert found == expected
    assert product.jobs.get(second.id).snapshot_digest == product.jobs.get(first.id).snapshot_digest


def test_a_job_that_would_continue_under_other_settings_is_refused_and_if_it_was_queued_fails_with_the_key(product):
    first = product.queue()
    product.train()
    longer = {"federated": {"num_rounds": ROUNDS + 1}}
    other = {**longer, "training": {"loss": "bpr"}}
    with pytest.raises(ConfigError, match=r"training\.loss"):
        product.queue(other, start_from=first.id, snapshot="same")
    second = product.queue(longer, start_from=first.id, snapshot="same")
    with writing(product.engine) as connection:  # as an earlier version took it
        config = {**second.config, "training": {**second.config["training"], "loss": "bpr"}}
        connection.execute(schema.jobs.update().where(schema.jobs.c.id == second.id).values(config=config))
    product.train()
    job = product.jobs.get(second.id)
    assert job.state == "failed"
    assert f"training.loss was 'full_softmax' when job {first.id} began and is now 'bpr'" in job.message
    assert job.traceback is None, "the sentence says it all"


def test_feedback_that_arrives_meanwhile_waits_for_the_next_job(product, started):
    catalogue = CatalogueStore(product.engine)
    job = product.queue(LONG)
    first = started()
    until(lambda: round_of(product, job.id) >= 1, "a round")
    catalogue.add_feedback("tiny", [Event("u00", "m01", 1e6), Event("newcomer", "m02", 1e6)])
    first.kill()
    product.let_lease_end(job.id)
    second = started()
    until(lambda: product.jobs.get(job.id).attempts == 2, "a second trainer")
    product.jobs.stop(job.id)
    until(lambda: product.jobs.get(job.id).state == "stopped", "a stop")
    assert product.directory(job.id).read_snapshot().dataset.num_users == 12
    later = product.queue({"federated": {"num_rounds": 1}})
    until(lambda: product.jobs.get(later.id).state == "succeeded", "the next job")
    assert product.directory(later.id).read_snapshot().dataset.num_users == 13
    second.terminate()


def test_a_job_begins_with_what_baselines_reach(product):
    job = product.queue()
    product.train()
    (start,) = MetricStore(product.engine).rounds(job.id, after_round=-1, limit=1)
    dataset, _ = load_dataset(CatalogueStore(product.engine), "tiny", min_sequence_length=5)
    for prefix, baseline in {"popularity": Popularity, "item_counts": ItemItemCounts, "ease": EASE}.items():
        expected = evaluate(dataset, baseline(dataset), "validation").mean("NDCG@10")
        assert start.metrics["validation"][f"{prefix}_NDCG@10"] == pytest.approx(expected)
    assert start.round == 0


def test_a_trainer_that_always_dies_fails_the_job_in_the_end(product, monkeypatch):
    job = product.queue()
    environment = product.environment | {"FEDMEM_MAX_ATTEMPTS": "2"}
    script = str(Path(__file__).with_name("killed_trainer.py"))
    for _ in range(2):
        process = forks.run([sys.executable, script, "training", "1"], env=environment)
        assert process.returncode == -signal.SIGKILL
        product.let_lease_end(job.id)
    monkeypatch.setattr(Product, "environment", environment)
    product.train()
    found = product.jobs.get(job.id)
    assert found.state == "failed"
    assert "2 times" in found.message


def test_a_full_disk_makes_a_job_wait_and_it_goes_on_by_itself(product, tmp_path):
    """The limit on a file's size stands for a full disk: the system itself refuses the write, three times over."""
    job = product.queue()
    process = product.start(
        "-c",
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from fedmem.checkpoint.checkpoints import Checkpoints\n"
        "original, refused = Checkpoints.write, []\n"
        "def limited(self, server, memories, base=None, handed_on=None):\n"
        "    if server.round == 5 and len(refused) < 3:\n"
        "        refused.append(1); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "    try: return original(self, server, memories, base, handed_on)\n"
        "    finally: resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "Checkpoints.write = limited\n"
        "import trainer.disk_wait; trainer.disk_wait.PAUSES = 0.1, 0.2\n"
        "from trainer.__main__ import main; sys.argv = ['trainer', '--until-idle']; main()",
    )
    code, output = ended(process)
    assert code == 0, output
    found = product.jobs.get(job.id)
    assert (found.state, found.attempts) == ("succeeded", 1)
    (waited,) = [line.message for line in product.jobs.logs(job.id) if "waiting" in line.message]
    assert "cannot be written" in waited
    (tmp_path / "other").mkdir()
    whole = Product.made(tmp_path / "other")
    whole.queue()
    whole.train()
    assert product.outcome(job.id) == whole.outcome(1)


def test_a_stop_is_heeded_while_a_job_waits_for_room(product, started):
    job = product.queue(LONG)
    process = product.start(
        "-c",
        "from fedmem.checkpoint.checkpoints import Checkpoints\n"
        "from fedmem.checkpoint.run_directory import RunDirectory\n"
        "from fedmem.errors import DiskFullError\n"
        "def full(*arguments): raise DiskFullError('the disk is full')\n"
        "Checkpoints.write = RunDirectory.write_record = full\n"
        "from trainer.__main__ import main; import sys; sys.argv = ['trainer', '--until-idle']; main()",
    )
    until_it_says(process.stdout, "waiting")
    product.jobs.stop(job.id)
    code, output = ended(process)
    assert code == 0, output
    assert product.jobs.get(job.id).state == "stopped"


def test_a_job_that_cannot_be_trained_harms_no_other(product):
    """One whose folder is lost, one that no machine has the memory for, one whose row is broken, and a whole one."""
    lost = product.queue()
    product.train()
    shutil.rmtree(product.directory(lost.id).path)
    huge = product.queue()
    broken = product.queue()
    whole = product.queue()
    large = {"sasrec_hidden_dim": 10_000, "sasrec_num_blocks": 20}
    with writing(product.engine) as connection:
        connection.exec_driver_sql(
            f"UPDATE jobs SET state = 'queued', round = 4, finished_at = NULL WHERE id = {lost.id}"
        )
        config = json.dumps(merged(huge.config, {"model": large}))
        connection.exec_driver_sql("UPDATE jobs SET config = ? WHERE id = ?", (config, huge.id))
        connection.exec_driver_sql("UPDATE jobs SET config = '{broken' WHERE id = ?", (broken.id,))
    product.train()
    states = {number: product.jobs.get(number).state for number in (lost.id, huge.id, broken.id, whole.id)}
    assert list(states.values()) == ["paused", "failed", "failed", "succeeded"]
    assert "FEDMEM_DATA_DIR" in product.jobs.get(lost.id).message
    assert "of memory" in product.jobs.get(huge.id).message
    assert "'{broken'" in product.jobs.get(broken.id).message
    assert product.jobs.resume(lost.id).message is None


def test_a_database_that_is_locked_for_a_while_costs_nothing(product, started):
    job = product.queue({"federated": {"num_rounds": 40}})
    started(replace(product, lease_seconds=1.0))
    until(lambda: round_of(product, job.id) >= 2, "two rounds")
    with writing(product.engine):
        time.sleep(3)  # longer than the lease
    until(lambda: product.jobs.get(job.id).state in ("succeeded", "failed"), "the job's end")
    assert product.jobs.get(job.id).state == "succeeded"
    assert [row[0] for row in product.rows(job.id)["rounds"]] == list(range(41))


def test_a_read_only_database_is_said_and_changes_nothing(product, tmp_path):
    job = product.queue()
    path = product.url.removeprefix("sqlite:///")
    read_only = Product(f"sqlite:///file:{path}?mode=ro&uri=true", product.data_dir)
    process = read_only.start("-m", "trainer")
    until_it_says(process.stdout, "read-only")
    process.terminate()
    code, output = ended(process)
    assert code == 0, output
    assert product.jobs.get(job.id).state == "queued"


def test_a_trainer_with_another_folder_lets_the_job_wait(product, tmp_path):
    job = product.queue(LONG)
    first = product.start("-m", "trainer")
    until(lambda: round_of(product, job.id) >= 2, "two rounds")
    first.terminate()
    assert ended(first)[0] == 0
    output = Product(product.url, tmp_path / "elsewhere").train()
    assert "FEDMEM_DATA_DIR" in output
    found = product.jobs.get(job.id)
    assert found.state == "paused"
    assert "FEDMEM_DATA_DIR" in found.message


def test_each_line_about_a_round_names_its_job(product):
    job = product.queue()
    code, output = ended(product.start("-m", "trainer", "--until-idle"))
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    rounds = [line for line in lines if line["message"].startswith("round ")]
    assert (code, len(rounds), {line.get("job") for line in rounds}) == (0, ROUNDS // 2, {job.id})


def test_a_job_whose_machine_is_lost_waits_and_goes_on_from_its_last_checkpoint(product, monkeypatch):
    job = product.queue()
    going_on = TrainingRun.rounds

    def rounds(run, *given, **named):
        for report in going_on(run, *given, **named):
            if report.round == 5:
                raise NodesAwayError("a machine is away")
            yield report

    with monkeypatch.context() as lost:
        lost.setattr(TrainingRun, "rounds", rounds)
        product.train()
    found = product.jobs.get(job.id)
    assert (found.state, found.message) == ("paused", "a machine is away")
    product.jobs.resume(job.id)
    product.train()
    assert product.jobs.get(job.id).state == "succeeded"
    assert [row[0] for row in product.rows(job.id)["rounds"]] == list(range(ROUNDS + 1))


@pytest.mark.parametrize(("metrics", "watched"), [(["NDCG"], "NDCG@10"), (["HR"], "HR@10")])
def test_a_job_ends_early_by_what_it_measures(product, metrics, watched, caplog):
    patient = {"num_rounds": 100, "patience": 1, "server_learning_rate": 1e-9}
    job = product.queue({"federated": patient, "evaluation": {"metrics": metrics}})
    with caplog.at_level("INFO"):
        product.train()
    found = product.jobs.get(job.id)
    assert found.state == "succeeded"
    assert f"ended early, because validation {watched} had not improved" in found.message
    assert f"validation {watched} " in caplog.text
    assert f"test {watched} " in caplog.text


def test_a_job_that_ends_early_before_its_release_says_that_nothing_is_spent(product):
    patient = {"num_rounds": 100, "patience": 1, "server_learning_rate": 1e-9, "client_fraction": 0.2}
    job = product.queue({"federated": patient, "privacy": {"transitions_epsilon": 8}})
    product.train()
    found = product.jobs.get(job.id)
    assert found.state == "succeeded"
    assert "ended early" in found.message
    assert "the transition memory was not released, which follows round 21" in found.message


def test_a_job_that_continues_one_that_ended_early_says_what_to_raise(product):
    patient = {"federated": {"num_rounds": 100, "patience": 1, "server_learning_rate": 1e-9}}
    first = product.queue(patient)
    product.train()
    assert "ended early" in product.jobs.get(first.id).message
    second = product.queue(merged(patient, {"federated": {"num_rounds": 200}}), start_from=first.id, snapshot="same")
    product.train()
    found = product.jobs.get(second.id)
    assert found.state == "failed"
    assert "federated.patience" in found.message
    with pytest.raises(ConflictError, match="num_rounds"):
        product.queue({"federated": {"num_rounds": 2}}, start_from=first.id, snapshot="same")


def test_a_job_whose_snapshot_was_never_written_takes_the_data_as_they_are_then(product):
    job = product.queue()
    script = str(Path(__file__).with_name("killed_trainer.py"))
    process = product.start(script, "snapshot", "1")
    assert ended(process)[0] == -signal.SIGKILL
    product.let_lease_end(job.id)
    CatalogueStore(product.engine).delete_user("tiny", "u03")
    product.train()
    assert product.jobs.get(job.id).state == "succeeded"
    assert product.directory(job.id).read_snapshot().dataset.num_users == 11


def test_a_database_that_takes_no_more_fails_clearly_and_the_job_goes_on_later(product, started):
    """A trigger that raises stands for a database that cannot be written; what was committed before is intact."""
    job = product.queue({"federated": {"num_rounds": 12}})
    path = product.url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    code = (
        "import sys, sqlalchemy\n"
        "from sqlalchemy import event\n"
        "from sqlalchemy.engine import Engine\n"
        f"@event.listens_for(Engine, 'connect')\n"
        f"def limit(connection, record): connection.execute('PRAGMA max_page_count = {pages + 12}')\n"
        "from trainer.__main__ import main; sys.argv = ['trainer', '--until-idle']; main()"
    )
    process = product.start("-c", code)
    until_it_says(process.stdout, "the disk is full")
    process.kill()
    ended(process)
    reached = product.jobs.get(job.id)
    assert reached.state in ("running", "queued")  # it goes on once there is room
    for number in range(1, reached.round + 1):
        assert number in [row[0] for row in product.rows(job.id)["rounds"]]
    assert product.directory(job.id).checkpoints.read(reached.round).server.round == reached.round


def test_data_that_cannot_be_trained_on_ends_a_job_in_the_sentence_of_the_command_line(product):
    jobs = {
        product.queue({"data": {"cold_user_fraction": 0.97}}).id: "data.cold_user_fraction = 0.97 keeps all of the 12",
        product.queue({"data": {"min_sequence_length": 500}}).id: "the data set 'tiny': no user has data.min_sequence",
    }
    bounded = product.queue({"data": {"max_history": 5}, "federated": {"num_rounds": 1}}).id
    unmoved = {"fedmem": {"surprise_threshold": 100.0}, "federated": {"num_rounds": 21}}
    empty = product.queue(unmoved | {"evaluation": {"eval_every": 21}}).id
    output = product.train()
    for job, why in jobs.items():
        assert product.jobs.get(job).state == "failed"
        assert why in (product.jobs.get(job).message or "")
    assert product.jobs.get(bounded).state == "succeeded"
    assert "a client trains on the newest data.max_history = 5" in output
    said = [line.message for line in product.jobs.logs(bounded)]
    assert any("data.max_history = 5" in line for line in said)
    assert any("of the validation targets" in line and "count as misses" in line for line in said)
    warned = [line.message for line in product.jobs.logs(empty) if line.level == "WARNING"]
    assert sum(line.startswith("memory not updated: no memory was written in round 21") for line in warned) == 1


def test_damaged_interactions_cost_a_job_only_themselves(product):
    changes = ("timestamp = 'then'", "user_id = x'ff'", "item_id = ''", "user_id = char(10)", "item_id = 'nan'")
    with writing(product.engine) as connection:
        for place, change in enumerate(changes):
            row = f"(SELECT id FROM interactions ORDER BY id LIMIT 1 OFFSET {place * 9})"
            connection.exec_driver_sql(f"UPDATE interactions SET {change} WHERE id = {row}")
    job = product.queue({"federated": {"num_rounds": 1}})
    product.train()
    assert product.jobs.get(job.id).state == "succeeded", product.jobs.get(job.id).message
    said = [row.message for row in product.jobs.logs(job.id) if "damaged" in row.message]
    assert [line.partition(" damaged")[0] for line in said] == [
        "2 interactions of 'tiny' are"
    ] * 2  # the gate reads too


def test_preference_texts_are_kept_in_the_installation_alone_and_go_with_the_first_user_who_is_deleted(
    product, tmp_path, monkeypatch
):
    """What a language model wrote of a history, and what an encoder made of it: the data folder is looked through."""
    pytest.importorskip("openai", reason="the extra `llm` is not installed")
    written = {f"An unmistakable taste, number {number}.": number for number in range(12)}
    left = iter(written)
    monkeypatch.setattr(EndpointWriter, "_ask", lambda self, prompt: next(left))
    monkeypatch.setattr(TextEncoder, "_files", ModelFiles("made up", tmp_path, "weights", "weights"))

    def vectors(self, texts, missing):
        yield missing, np.array([[len(texts[place]) + place, 0.5, written.get(texts[place], -1)] for place in missing])

    monkeypatch.setattr(TextEncoder, "_compute", vectors)
    for name, value in {"CACHE_DIR": tmp_path / "cache", "LLM_BASE_URL": "http://unused", "LLM_MODEL": "m"}.items():
        monkeypatch.setenv(f"FEDMEM_{name}", str(value))
    with writing(product.engine) as connection:
        connection.exec_driver_sql("UPDATE items SET text = title")
    texts = {"text": "required", "image": "off", "preference_text": "required", "preference_source": "endpoint"}
    job = product.queue({"features": texts, "federated": {"num_rounds": 1}})
    product.train()
    assert product.jobs.get(job.id).state == "succeeded", product.jobs.get(job.id).message
    assert next(left, None) is None

    def hold(*words: bytes) -> set[str]:
        return {
            path.relative_to(tmp_path).parts[0]
            for path in tmp_path.rglob("*")
            if path.is_file() and any(word in path.read_bytes() for word in words)
        }

    marks = b"An unmistakable taste", np.array([0.5, 7], "<f4").tobytes()  # what was written, and a vector of it
    assert [hold(mark) for mark in marks] == [{"data"}, {"data"}]
    assert "cache" in hold(np.array([0.5, -1], "<f4").tobytes())  # what was made of items
    catalogue = CatalogueStore(product.engine)
    catalogue.delete_user("tiny", "u03")
    Eraser(ErasureStore(product.engine), catalogue, Runs(product.data_dir)).erase("u03")
    assert hold(*marks) == set()
