"""``fedmem jobs`` and ``fedmem audit``: the jobs of a database on the command line."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import yaml

from cli.auditing import budget_of, of_cohorts, spent, unmeasured
from fedmem.config_reader import validate_config
from fedmem.contracts import Leak, LeakReport
from fedmem.serving import read_leaks
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import writing
from fedmem.times import written
from tests.end_to_end.products import Product
from tests.tiny import tiny_config

NOTHING = {"weights": 0.0, "transitions": 0.0}


@pytest.fixture(scope="module")
def product(tmp_path_factory, modules_url) -> Iterator[Product]:
    product = Product.made(tmp_path_factory.mktemp("jobs"), modules_url)
    yield product
    product.engine.dispose()


@pytest.fixture(scope="module")
def finished(product):
    """The number of a job that was trained to its end."""
    job = product.queue()
    product.train()
    return job.id


def test_an_empty_database_says_how_to_begin(fedmem, tmp_path):
    product = Product.made(tmp_path)
    outcome = fedmem("jobs", "list", "--database-url", product.url)
    assert outcome.code == 0
    assert "fedmem jobs start" in outcome.err


def test_a_job_is_started_paused_resumed_and_stopped(fedmem, product, config):
    url = ("--database-url", product.url)
    started = fedmem("jobs", "start", "--dataset", "tiny", "--config", config, "--experiment", *url)
    assert started.code == 0, started.err
    number = started.out.strip()
    assert "is paused" in fedmem("jobs", "pause", number, *url).err
    assert "is queued" in fedmem("jobs", "resume", number, *url).err
    assert "is stopped" in fedmem("jobs", "stop", number, *url).err
    shown = json.loads(fedmem("jobs", "show", number, "--json", *url).out)
    assert (shown["state"], shown["kind"], shown["num_rounds"]) == ("stopped", "experiment", 6)
    assert number in fedmem("jobs", "list", *url).out
    refused = fedmem("jobs", "resume", number, *url)
    assert refused.code == 2
    assert "stopped" in refused.err


def test_what_is_not_there_is_one_clear_error(fedmem, product):
    url = ("--database-url", product.url)
    assert "there is no job 999" in fedmem("jobs", "show", 999, *url).err
    unknown = fedmem("jobs", "start", "--dataset", "nothing", *url)
    assert unknown.code == 2
    assert "'nothing'" in unknown.err
    assert "tiny" in unknown.err


def test_a_data_set_need_not_be_named_where_one_alone_can_be_meant(fedmem, tmp_path):
    product = Product.made(tmp_path)
    start = ("jobs", "start", "--database-url", product.url)
    started = fedmem(*start)
    assert (started.code, "on the data set tiny, the only one" in started.err) == (0, True), started.err
    product.write("books", "b", "Book")
    refused = fedmem(*start)
    assert refused.code == 2
    assert "there are several data sets: books, tiny; name the one to train on by --dataset" in refused.err
    for name in ("books", "tiny"):
        assert fedmem(*start, "--dataset", name).code == 0
    assert [job.dataset for job in product.jobs.page()] == ["tiny", "books", "tiny"], "what is refused is not queued"
    product.engine.dispose()


def test_a_job_that_goes_on_is_on_the_data_set_of_the_other(fedmem, product, finished):
    more = ("--set", "federated.num_rounds=99", "--experiment")
    started = fedmem("jobs", "start", "--start-from", finished, *more, "--database-url", product.url)
    assert (started.code, f"on the data set tiny, which job {finished} was" in started.err) == (0, True), started.err
    product.jobs.stop(int(started.out))


def test_without_a_data_set_an_import_is_what_comes_first(fedmem, tmp_path):
    product = Product.made(tmp_path)
    CatalogueStore(product.engine).remove("tiny")
    outcome = fedmem("jobs", "start", "--database-url", product.url)
    product.engine.dispose()
    assert (outcome.code, "import one with fedmem data import PATH" in outcome.err) == (2, True)


def test_a_job_says_when_it_was_queued_started_and_ended(fedmem, product, finished):
    show = ("jobs", "show", finished, "--database-url", product.url)
    found, row = json.loads(fedmem(*show, "--json").out), product.jobs.get(finished)
    times = {"created_at": row.created_at, "started_at": row.started_at, "finished_at": row.finished_at}
    assert {name: datetime.fromisoformat(found[name]).timestamp() for name in times} == pytest.approx(times, abs=1e-3)
    lines = fedmem(*show).out.splitlines()
    for name, at in times.items():
        assert f"{name:<16}{written(datetime.fromtimestamp(at, UTC), datetime.now(UTC))} UTC" in lines


@pytest.mark.parametrize("damage", ["message = x'ff'", "round = 'many'", "config = 'none', created_at = 'then'"])
def test_a_damaged_row_spoils_no_list(fedmem, tmp_path, damage):
    product = Product.made(tmp_path)
    url = ("--database-url", product.url)
    for _ in range(2):
        assert fedmem("jobs", "start", "--dataset", "tiny", *url).code == 0
    with writing(product.engine) as connection:
        connection.exec_driver_sql(f"UPDATE jobs SET {damage} WHERE id = 1")
    assert [row["id"] for row in json.loads(fedmem("jobs", "list", "--json", *url).out)] == [2, 1]
    assert "2" in fedmem("jobs", "list", *url).out
    shown = fedmem("jobs", "show", "1", *url)
    assert (shown.code, "the row of job 1 in the database is damaged" in shown.out) == (0, True)


def test_a_database_that_was_not_made_says_what_to_run(fedmem, tmp_path):
    outcome = fedmem("jobs", "list", "--database-url", f"sqlite:///{tmp_path / 'new.db'}")
    assert outcome.code == 2
    assert "fedmem up or fedmem data import makes one" in outcome.err
    assert not (tmp_path / "new.db").exists()


def test_jobs_are_compared_or_refused(fedmem, product, finished):
    url = ("--database-url", product.url)
    other = product.queue({"seed": 8}, kind="experiment")
    shown = fedmem("jobs", "compare", finished, other.id, *url)
    assert shown.code == 0, shown.err
    assert all(words in shown.out for words in (f"job {finished}", "seed", "snapshot", "test NDCG@10"))
    found = json.loads(fedmem("jobs", "compare", finished, other.id, "--metric", "HR@10", "--json", *url).out)
    assert (found["jobs"], found["metrics"]) == ([finished, other.id], ["HR@10"])
    assert found["test"]["HR@10"][0] > 0
    assert found["test"]["HR@10"][1] is None
    strict = product.queue({"data": {"min_sequence_length": 6}}, kind="experiment")
    refused = fedmem("jobs", "compare", finished, strict.id, *url)
    assert refused.code == 2
    assert "data.min_sequence_length" in refused.err
    for job in (other, strict):
        product.jobs.stop(job.id)


def test_a_log_tells_the_story_of_a_job(fedmem, product, finished):
    lines = fedmem("jobs", "logs", finished, "--follow", "--database-url", product.url).out.splitlines()
    assert "attempt 1" in lines[0]
    assert "succeeded after round 8" in lines[-1]


def test_the_ledger_adds_what_every_round_has_sent(fedmem, product, finished):
    found = json.loads(fedmem("audit", finished, "--json", "--database-url", product.url).out)
    assert found["rounds"] == 8
    assert found["participations"] == 8 * 6
    rows = product.rows(finished)["metrics"]
    by_round = {(number, split, name): value for number, split, name, value in rows}
    tables = {n: size for (n, _, name), size in by_round.items() if name == "bytes_down_transitions"}
    users = {number: by_round[number, "validation", "users"] for number in tables}
    assert found["validations"] == sum(users.values()) > 0
    assert found["bytes"]["down"]["transitions"] == sum(size * users[n] for n, size in tables.items())
    up = sum(value for (_, _, name), value in by_round.items() if name == "bytes_up_transitions")
    assert found["bytes"]["up"]["transitions"] == pytest.approx(6 * up, abs=1)
    assert up > 0
    expected = sum(value for _, split, name, value in rows if (split, name) == ("train", "bytes_up_weights")) * 6
    assert found["bytes"]["up"]["weights"] == expected > 0
    assert found["bytes"]["up"]["prototypes"] > 0
    table = fedmem("audit", finished, "--database-url", product.url).out
    assert "clients to server: prototypes" in table
    assert "server to clients that validate: transitions" in table
    assert "transitions in sums over a round's clients" in table
    assert "rare pairs" in table
    assert "no privacy budget" in table


def test_the_ledger_says_what_is_spent_and_on_what():
    config = validate_config({"privacy": {"weights_epsilon": 8, "transitions_epsilon": 2}}, "the test")
    assert budget_of(config, {"weights": 0.0, "transitions": 0.0})["epsilon"] is None
    weights = budget_of(config, {"weights": 3.5, "transitions": 0.0})
    assert (weights["epsilon"], weights["delta"], weights["protected"]) == (3.5, 0.5e-6, ["weights"])
    assert weights["unprotected"] == ["transitions", "metrics"], "no client of this job sends prototypes"
    assert "on the weights alone; the table of transitions and metrics of training, validations" in spent(
        weights, config
    )
    both = budget_of(config, {"weights": 3.5, "transitions": 2.0})
    assert (both["epsilon"], both["delta"], both["protected"]) == (5.5, 1e-6, ["weights", "transitions"])
    assert "on the weights and the table of transitions alone; metrics of training, validations" in spent(both, config)
    every = budget_of(config, {"weights": 3.5, "prototypes": 1.0, "transitions": 2.0})
    assert (every["epsilon"], every["delta"], every["unprotected"]) == (6.5, 1e-6, ["metrics"])
    assert spent(every, config).endswith(
        "alone; metrics of training, validations and the test have no noise, and may leak"
    )
    more = budget_of(config, {"weights": 3.5, "prototypes": 1.0, "transitions": 2.0, "metrics": 1.5})
    assert (more["epsilon"], more["unprotected"]) == (8.0, [])
    assert spent(more, config).endswith("all that crosses, as far as the server that adds up is trusted")


def test_one_part_without_noise_is_told_in_the_singular():
    config = validate_config({"privacy": {"weights_epsilon": 8, "metrics_epsilon": 3}}, "the test")
    found = budget_of(config, {"weights": 3.5, "transitions": 0.0, "metrics": 1.0})
    assert spent(found, config).endswith("alone; the table of transitions has no noise, and may leak")


def test_the_audit_of_a_simulation_with_secure_sums_says_that_messages_were_masked():
    config = validate_config({"secure_sums": {"enabled": True, "minimum_cohort": 30}}, "the test")
    (said,) = of_cohorts(config)
    assert "crossed masked, read in sums over 30 clients or more" in said
    assert spent(budget_of(config, NOTHING), config).endswith("whatever the sums hold may leak")
    plain = validate_config({}, "the test")
    assert of_cohorts(plain) == []
    assert spent(budget_of(plain, NOTHING), plain).endswith("whatever crosses may leak")


def test_the_audit_says_why_no_prototype_was_attacked():
    report = LeakReport(job_id=1, round=4, clients=3, leaks=())
    (said,) = unmeasured(report, tiny_config())
    assert said.endswith("no attacked client's memory holds anything after round 4")
    (said,) = unmeasured(report, tiny_config(ablation={"disable_memory": True}))
    assert "no client of this job sends any" in said
    inverted = Leak(attack="prototype_inversion", what="", measure="recall", measured=1, chance=0, popularity=None)
    assert unmeasured(report.model_copy(update={"leaks": (inverted,)}), tiny_config()) == []


def test_what_all_budgets_will_cost_is_said_before_a_job_starts(fedmem, product, tmp_path):
    budgets = {"weights_epsilon": 8, "transitions_epsilon": 1, "metrics_epsilon": 3}
    (tmp_path / "private.yaml").write_text(yaml.safe_dump({"privacy": budgets}))
    start = ("jobs", "start", "--dataset", "tiny", "--config", tmp_path / "private.yaml", "--database-url", product.url)
    started = fedmem(*start)
    said = " ".join(started.err.split())
    assert "the weights will spend epsilon 8" in said
    assert "all budgets together will spend epsilon 12 at delta 1e-06 for a user" in said
    assert "on weights, transitions and metrics alone" in said
    logged = [line.message for line in product.jobs.logs(int(started.out))]
    assert any("all budgets together will spend epsilon 12" in message for message in logged)
    product.jobs.stop(int(started.out))


def test_what_a_jobs_messages_give_away_is_measured_and_kept_beside_it(fedmem, product, finished):
    asked = ("audit", finished, "--attacks", "--clients", 3, "--data-dir", product.data_dir)
    found = json.loads(fedmem(*asked, "--json", "--database-url", product.url).out)
    assert found["rounds"] == 8  # the ledger stands beside it
    assert 0 < found["prototype_inversion"]["chance"] < 1
    by_name = {leak["attack"]: leak["measured"] for leak in found["leaks"]}
    assert (found["interaction_auc"], found["transition_auc"]) == (by_name["interaction"], by_name["transition"])
    assert (found["epsilon"], found["delta"], found["clients"]) == (None, None, 3)
    kept = read_leaks(product.data_dir / "jobs" / str(finished))
    assert {leak.attack: leak.measured for leak in kept.leaks} == by_name
    table = fedmem(*asked, "--database-url", product.url).out
    assert "what 3 clients gave away after round" in table
    assert "by popularity" in table


def test_a_job_with_budgets_is_attacked_and_its_epsilon_is_told(fedmem, product):
    budgets = {"weights_epsilon": 8, "prototypes_epsilon": 2, "transitions_epsilon": 1, "metrics_epsilon": 3}
    job = product.queue({"privacy": budgets})
    product.train()
    asked = (
        "audit",
        job.id,
        "--attacks",
        "--clients",
        3,
        "--data-dir",
        product.data_dir,
        "--database-url",
        product.url,
    )
    found = json.loads(fedmem(*asked, "--json").out)
    assert found["epsilon"] == pytest.approx(14, rel=1e-3)
    assert found["delta"] == pytest.approx(1e-6)
    assert (found["protected"], found["unprotected"]) == (["weights", "prototypes", "transitions", "metrics"], [])
    assert found["interaction_auc"] > 0.5
    assert "models_round_all" in {leak["attack"] for leak in found["leaks"]}
    assert "all that crosses, as far as the server" in fedmem(*asked[:2], *asked[-2:]).out.replace("\n", " ")


def test_clients_that_cannot_be_attacked(fedmem, product, finished):
    elsewhere = ("--data-dir", product.data_dir / "nowhere", "--database-url", product.url)
    outcome = fedmem("audit", finished, "--attacks", *elsewhere)
    assert outcome.code == 2
    assert "no run here" in outcome.err
    assert fedmem("audit", finished, "--attacks", "--clients", 1, *elsewhere).code == 2


def test_jobs_are_removed_once_what_they_take_was_shown(fedmem, tmp_path, empty_url, monkeypatch):
    product = Product.made(tmp_path, empty_url)
    place = ("--database-url", product.url, "--data-dir", product.data_dir)
    serving, other = product.queue(), product.queue(kind="experiment")
    product.train()
    refused = fedmem("jobs", "remove", serving.id, "--yes", *place)
    assert (refused.code, "is in service" in refused.err) == (2, True)
    assert fedmem("jobs", "remove", *place).code == 2, "neither jobs nor a rule"
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    asked = fedmem("jobs", "remove", other.id, *place)
    assert (asked.code, "MiB on the disk" in asked.err, "Remove for good?" in asked.err) == (1, True, True)
    assert product.directory(other.id).exists, "the answer was no"
    assert fedmem("jobs", "remove", "--keep", 0, "--yes", *place).code == 0
    assert [job.id for job in product.jobs.page()] == [serving.id]
    assert not product.directory(other.id).path.exists()
    assert "no such job" in fedmem("jobs", "remove", "--older-than", 1, "--yes", *place).err
    product.write("other", "o", "Other")
    assert "--force" in fedmem("data", "remove", "tiny", *place).err
    removed = fedmem("data", "remove", "tiny", "--force", "--yes", *place)
    assert (removed.code, "in service" in removed.err, "12 users" in removed.err) == (0, True, True)
    assert list((product.data_dir / "jobs").iterdir()) == []
    assert [row["name"] for row in json.loads(fedmem("data", "list", "--json", *place[:2]).out)] == ["other"]
    product.engine.dispose()
