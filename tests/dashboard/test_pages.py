"""Each page on the real API: what it says when there is nothing, and that what it shows is what the API tells."""

import html
import itertools
import json
import re
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pyarrow as pa
import pytest

from dashboard.charts.drawing import axis_titles
from dashboard.charts.recommend import PARTS
from dashboard.charts.weights import weights_in_use
from dashboard.components.ab_tests import to_try
from dashboard.transport import BackendAwayError
from dashboard.views.clients import nodes_of
from dashboard.views.overview import beside
from dashboard.views.privacy import spent_of
from dashboard.views.system import note_of
from dashboard.words import share, size
from fedmem.config_reader import validate_config
from fedmem.contracts import NODES_ARE_NOT_RECORDED, Job, ModelPage, ModelVersion, RoundMetrics
from fedmem.storage import schema
from fedmem.storage.engine import writing
from fedmem.storage.jobs import RoundResult
from tests.dashboard.example_rounds import Curves
from tests.dashboard.pretended_trainer import PretendedTrainer
from tests.dashboard.sites import PAGES, asked, backend_on, read, word_tables
from tests.end_to_end.products import Product
from tests.example_experiments import ABLATION
from tests.ports import free_port

CHARTS = {  # of a job that was trained with everything on
    "overview": 1,
    "training": 6,  # without texts and pictures there is no contrastive loss
    "clients": 5,
    "memory": 9,  # without texts and images there is one expert and nothing to weigh
    "prototypes": 4,
    "recommend": 2,
    "online": 6,  # hits and clicks, by model, strategy and position
    "experiments": 6,  # two of jobs, four of an ablation
    "privacy": 1,
    "datasets": 0,
    "items": 0,
    "users": 0,
    "schedules": 0,
    "system": 0,
}


def specs(app):
    return [json.loads(element.proto.spec) for element in app.get("vega_lite_chart")]


def words(app):
    """All that a reader could read."""
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "metric", "badge", "html")
    texts = []
    for kind in kinds:
        texts += [getattr(e, "value", None) or getattr(e.proto, "body", "") for e in app.get(kind)]
    return "\n".join(read(str(text)) for text in texts)


def html_of(app):
    return [html.unescape(element.proto.body) for element in app.get("html")]


def table(app, number=0):
    return word_tables(app)[number]


def test_there_is_a_page_for_each_part_of_the_product():
    assert set(PAGES) == CHARTS.keys()


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_page_says_what_to_do_next(page, empty_api, name):
    app = page(name, empty_api)
    said = words(app)
    assert "yet" in said
    assert any(hint in said for hint in ("Start", "Queue", "Import", "fedmem", "training job")), said
    assert specs(app) == []


@pytest.mark.parametrize("name", PAGES)
def test_every_axis_has_a_title_with_a_unit(page, filled, name):
    app = page(name, filled.api, job=filled.full)
    found = specs(app)
    assert len(found) == CHARTS[name]
    for spec in found:
        titles = axis_titles(spec)
        assert len(titles) >= 2, spec
        assert all(title.endswith(")") for title in titles), titles


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_a_job_under_way_and_on_one_without_memory(page, filled, name):
    for job in (filled.running, filled.without_memory):
        page(name, filled.api, job=job)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_when_the_backend_is_away(page, name):
    app = page(name, f"http://127.0.0.1:{free_port()}")
    (error,) = app.error
    assert "does not answer" in error.value
    assert "comes back by itself" in words(app)


def test_a_page_asks_again_by_itself_where_the_backend_is_in_trouble(page):
    class Troubled(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(503)

        def log_message(self, *words): ...

    with HTTPServer(("127.0.0.1", 0), Troubled) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        app = page("overview", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    assert "503" in read(app.error[0].value)
    assert "asks again by itself" in words(app)
    assert not app.button


def test_older_jobs_are_not_cut_off_in_silence(page, crowded_api):
    app = page("overview", crowded_api)
    assert len(app.sidebar.selectbox[0].options) == len(table(app)) == 50
    assert "The newest 50 jobs" in words(app)
    app.button(key="older-jobs").click().run()
    assert len(app.sidebar.selectbox[0].options) == len(table(app)) == 55
    assert "The newest" not in words(app)
    assert "older-jobs" not in {button.key for button in app.button}


def test_settings_that_this_version_does_not_know_are_named(page, crowded_api):
    assert "know federated.of_tomorrow, and" in words(page("overview", crowded_api, job=55))
    assert "does not know" not in words(page("overview", crowded_api, job=54))


def test_what_is_wrong_with_a_training_is_said_above_its_charts(page, filled, monkeypatch):
    assert "has no say" not in words(page("training", filled.api, job=filled.running))
    monkeypatch.setattr("fedmem.training_warnings.LEAST_SHARE", 0.3)
    wrong = "an expert has no say: the router gives less than 30% of its weight to visual"
    assert wrong in words(page("training", filled.api, job=filled.running))


def test_the_choice_of_a_job_is_in_the_url_and_the_other_way_round(page, filled):
    app = page("memory", filled.api, job=filled.full)
    assert app.sidebar.selectbox[0].value == filled.full
    app.sidebar.selectbox[0].select(filled.running).run()
    assert app.query_params["job"] == str(filled.running)
    assert f"Job {filled.running}" in words(app)


def test_overview_shows_the_job_under_way_against_the_kept_model_and_baselines(page, filled):
    app = page("overview", filled.api)
    rounds = filled.get(f"/jobs/{filled.running}/metrics")["rounds"]
    evaluated = [r for r in rounds if "HR@10" in r["metrics"].get("validation", {})]
    kept = max(evaluated, key=lambda r: r["metrics"]["validation"]["NDCG@10"])
    shown = {metric.label: metric.value for metric in app.metric}
    notes = {metric.label: metric.delta for metric in app.metric}
    for label, found in {"Last HR@10": evaluated[-1], "Kept HR@10": kept}.items():
        assert shown[label] == share(found["metrics"]["validation"]["HR@10"])
        assert notes[label] == f"round {found['round']}"
    start = rounds[0]["metrics"]["validation"]
    assert shown["Popularity"] == share(start["popularity_HR@10"])
    assert shown["Item-item counts"] == share(max(start["item_counts_HR@10"], start["ease_HR@10"]))
    assert filled.get("/models")["serving"] in words(app)
    assert notes["Popularity"] == f"kept is {beside(float(shown['Kept HR@10']), float(shown['Popularity']))}"


@pytest.mark.parametrize(
    ("kept", "level", "said"),
    [
        (0.15, 0.1, "50% better"),
        (0.05, 0.1, "50% worse"),
        (0.4, 0.1, "4.0× as good"),
        (0.5004, 0.5, "as good"),
    ],
)
def test_what_is_kept_is_set_beside_a_baseline_in_words(kept, level, said):
    assert beside(kept, level) == said


def test_a_failed_newest_job_is_told_and_hides_nothing(page, tmp_path):
    product = Product.made(tmp_path)
    trainer = PretendedTrainer(product.url)
    trainer.queue("tiny")
    first = trainer.claim()
    trainer.train(first, 10, Curves())
    trainer.finish(first, Curves())
    trainer.queue("tiny")
    product.jobs.finish(trainer.claim(), "failed", message="no user has *enough* interactions")
    with backend_on(product.url, product.data_dir) as api:
        app = page("overview", api)
        assert app.query_params["job"] == "1"
        assert "the newest, failed: no user has *enough* interactions." in read(app.error[0].value)
        app = page("overview", api, job=2)
        assert [read(error.value) for error in app.error] == ["no user has *enough* interactions"]


def test_training_offers_what_the_state_allows(page, filled):
    def labels(job):
        return {button.label for button in page("training", filled.api, job=job).button}

    assert {"Pause", "Stop"} <= labels(filled.running)
    assert not {"Pause", "Stop", "Resume"} & labels(filled.full)


def test_what_the_backend_refuses_is_said_until_it_is_read(page, filled):
    job = filled.post("/jobs", dataset="tiny")["id"]
    app = page("training", filled.api, job=job)
    filled.post(f"/jobs/{job}/stop")
    app.button(key=f"pause-{job}").click().run()
    (said,) = app.toast
    assert "stopped" in read(said.value)
    assert said.proto.duration == 0  # for as long as it takes


def test_training_compares_runs_and_says_where_they_differ(page, filled):
    app = page("training", filled.api, job=filled.full)
    app.multiselect[0].select(filled.without_memory).run()
    assert not app.exception
    differing = table(app)
    assert list(differing["Setting"]) == ["ablation.disable_memory"]
    assert {"FedMem-Full", "FedMem-NoMemory"} == {column.rpartition(" ")[2] for column in differing.columns[1:]}
    domain = specs(app)[0]["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert domain == ["Job 1", "Job 2", "Job 1, no transitions"]


def test_a_comparison_opens_from_its_url_and_stands_in_it(page, filled):
    app = page("training", filled.api, job=filled.full, compare=filled.without_memory)
    assert app.multiselect[0].value == [filled.without_memory]
    domain = specs(app)[0]["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert domain[:2] == [f"Job {filled.full}", f"Job {filled.without_memory}"]
    app.multiselect[0].select(filled.running).run()
    assert app.query_params["compare"] == f"{filled.without_memory},{filled.running}"
    app.multiselect[0].set_value([]).run()
    assert "compare" not in app.query_params


def test_the_buttons_of_a_job_have_one_place_whatever_stands_above_them(page, filled):
    def place(**query):
        app = page("training", filled.api, job=filled.running, **query)
        blocks = {index: node for index, node in app.main.children.items() if hasattr(node, "get")}
        key = f"pause-{filled.running}"
        return next(index for index, block in blocks.items() if key in {button.key for button in block.get("button")})

    assert place() == place(new=1) == place(compare=filled.full)


def test_a_job_that_is_compared_with_is_shown_as_it_is_now(page, filled):
    app = page("training", filled.api, job=filled.full, compare=filled.running)
    before = rounds_of(app, f"Job {filled.running}")
    filled.advance()
    app.run()
    assert rounds_of(app, f"Job {filled.running}") > before


def rounds_of(app, run):
    """The last round of a run in the chart of the losses."""
    losses = app.get("vega_lite_chart")[3].proto
    rows = pa.ipc.open_stream(losses.datasets[0].data.data).read_pandas()
    return rows[rows.series == run]["round"].max()


def test_the_cut_off_stands_in_the_url(page, filled):
    app = page("training", filled.api, job=filled.full, k=20)
    assert [app.segmented_control[0].value, app.query_params["k"]] == [20, "20"]
    (first, *_) = specs(app)
    assert "Hit rate at 20 (share of users)" in axis_titles(first)


def test_a_job_that_goes_on_from_another_has_its_settings_and_more_rounds(page, filled):
    app = page("training", filled.api, job=filled.full, new=1)
    start, base = app.selectbox(key="new-start-tiny"), app.selectbox(key="new-base-tiny")
    assert not base.disabled
    start.select(filled.full).run()
    assert app.selectbox(key="new-base-tiny").disabled
    parent = filled.get(f"/jobs/{filled.full}")
    for snapshot, reached in {"newest": "best_round", "same": "round"}.items():
        app.selectbox(key="new-snapshot").select(snapshot).run()
        rounds = next(field for field in app.number_input if field.label == "Rounds at most")
        assert rounds.min == parent[reached] + 1
        assert rounds.value == max(rounds.min, parent["config"]["federated"]["num_rounds"])


def test_a_wrong_setting_is_told_and_no_job_is_made(page, filled):
    before = filled.get("/jobs")["jobs"]
    app = page("training", filled.api, job=filled.full, new=1)
    app.text_area[0].set_value("model:\n  max_seq_length: 20").run()
    app.button(key="start-job").click().run()
    assert "max_seq_len" in read(app.error[0].value)
    assert filled.get("/jobs")["jobs"] == before
    assert "max_seq_len" in read(app.run().error[0].value), "news of a job take it away"
    app.text_area[0].set_value("model:\n  max_seq_len: 20\nmodel:\n  sasrec_num_blocks: 1").run()
    app.button(key="start-job").click().run()
    assert "the key 'model' stands twice, in line 1 and in line 3" in read(app.error[0].value)
    app.text_area[0].set_value("seed:\n  more: 1").run()
    app.button(key="start-job").click().run()
    assert "seed: Input should be a valid integer" in read(app.error[0].value)
    assert filled.get("/jobs")["jobs"] == before
    app.button(key="cancel-job").click().run()
    app.button(key="new-job").click().run()
    assert not app.error


def test_a_new_job_begins_with_the_installations_settings(page, tmp_path):
    product = Product.made(tmp_path)
    (tmp_path / "jobs.yaml").write_text("seed: 5\nfederated: {num_rounds: 7}\n")
    with backend_on(product.url, product.data_dir, job_config=tmp_path / "jobs.yaml") as api:
        app = page("training", api, new=1)
        assert next(field for field in app.number_input if field.label == "Rounds at most").value == 7
        app.button(key="start-job").click().run()
        (job,) = asked(f"{api}/jobs").json()["jobs"]
        assert (job["num_rounds"], job["config"]["seed"]) == (7, 5)


def test_the_form_says_what_a_job_will_cost_a_user(page, filled):
    app = page("training", filled.api, job=filled.full, new=1)
    assert "no ε bounds" in words(app)
    budget = "privacy:\n  weights_epsilon: 8\nablation:\n  disable_prototype_agg: true\n  disable_moe: true"
    app.text_area[0].set_value(budget).run()
    assert "will spend ε = 8, δ = 1e-06 for a user, on weights alone" in words(app)


@pytest.mark.parametrize("name", ["recommend", "online"])
def test_before_the_first_model_the_job_that_brings_it_is_named(page, crowded_api, name):
    said = words(page(name, crowded_api))
    assert "No model is in service yet" in said
    assert "is queued, at round 0 of" in said


def test_while_a_first_job_encodes_texts_the_pages_say_so(page, tmp_path):
    product = Product.made(tmp_path)
    trainer = PretendedTrainer(product.url)
    trainer.queue("tiny")
    trainer.train(trainer.claim(), 0, Curves())  # popularity is known, and texts are encoded now
    with backend_on(product.url, product.data_dir) as api:
        said = words(page("overview", api))
        assert "Its data is read and its texts are encoded before the first round" in said
        assert "at round 0 of 400: its data is read and its texts are encoded." in words(page("recommend", api))


def test_the_form_can_be_closed_where_there_is_no_data(page, empty_api):
    app = page("training", empty_api, new=1)
    assert "fedmem data import" in app.info[0].value
    app.button(key="cancel-job").click().run()
    assert not app.info
    assert "new" not in app.query_params


def test_the_bytes_are_those_of_the_metrics(page, filled):
    rounds = filled.get(f"/jobs/{filled.full}/metrics?after_round=0")["rounds"]
    train = [r["metrics"]["train"] for r in rounds]
    up = sum(train[-1][f"bytes_up_{part}"] for part in ("weights", "prototypes", "transitions"))
    shown = {metric.label: metric.value for metric in page("clients", filled.api, job=filled.full).metric}
    assert shown["From a client, per round"] == size(up)
    ledger = table(page("privacy", filled.api, job=filled.full))
    (unit,) = {sent.split()[1] for sent in ledger["All so far"] if sent != "0"}

    def sent(amount: float) -> str:
        return f"{amount / {'KB': 1e3, 'MB': 1e6}[unit]:,.1f} {unit}"

    assert list(ledger["What"])[2].startswith("↑")
    assert list(ledger["All so far"])[2] == sent(sum(t["bytes_up_weights"] * t["clients"] for t in train))
    tables = [r["metrics"] for r in rounds if "validation" in r["metrics"]]
    down = sum(found["train"]["bytes_down_transitions"] * found["validation"]["users"] for found in tables)
    assert list(ledger["What"])[4].startswith("↓ Table of transitions")
    assert list(ledger["All so far"])[4] == sent(down)
    assert list(ledger["All so far"])[5] == sent(sum(t["bytes_up_transitions"] * t["clients"] for t in train))


def test_a_chart_says_when_it_does_not_draw_every_point(page, filled, monkeypatch):
    def notes():
        return [each.help for each in page("clients", filled.api, job=filled.running).markdown]

    words = "One of 4 points is drawn; zoom in to see each."
    assert words not in "".join(notes())
    monkeypatch.setattr("dashboard.charts.thinning.MOST", 10)
    assert words in notes()


def test_privacy_claims_nothing_that_is_not_there(page, filled):
    said = words(page("privacy", filled.api, job=filled.full))
    assert "No noise on metrics, and on updates, prototypes and transitions only with a budget" in said
    assert "unbounded" in said
    assert "only in sums" in said
    assert "rare pairs" in said


@pytest.fixture(scope="module")
def by_place(tmp_path_factory):
    """A backend, and a job of three rounds for each place where clients are, with secure sums and without."""
    product = Product.made(tmp_path_factory.mktemp("by-place"))
    trainer, found = PretendedTrainer(product.url), {}
    for engine, secure in itertools.product(("simulation", "flower"), (False, True)):
        sums = {"enabled": secure}
        job = trainer.queue("tiny", engine=engine, flower={"minimum_nodes": 3}, secure_sums=sums)
        trainer.train(trainer.claim(), 3, Curves())
        found[engine, secure] = job.id
    with backend_on(product.url, product.data_dir) as api:
        yield api, found


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("engine", ["simulation", "flower"])
def test_privacy_says_of_a_job_what_is_true_where_its_clients_are(page, by_place, engine, secure):
    api, jobs = by_place
    said, over_nodes = words(page("privacy", api, job=jobs[engine, secure])), engine == "flower"
    assert ("The clients are simulated here" in said) is not over_nodes
    assert ("clients are on their owners' machines" in said) is over_nodes
    assert ("its CPU seconds and the type of an error" in said) is over_nodes
    assert ("of which nodes one was that is made again" in said) is (over_nodes and secure)
    assert ("Secure sums are off" in said) is not secure
    assert ("secrets are drawn from the job's seed" in said) is (secure and not over_nodes)
    assert ("Secure sums are over 3 nodes or more" in said) is (secure and over_nodes)
    assert ("could read each node's sum" in said) is (over_nodes and not secure)
    assert (NODES_ARE_NOT_RECORDED[1:] in said) is over_nodes
    assert ("--attacks measures" in said.replace("`", "")) is not over_nodes


def test_privacy_says_what_of_the_budgets_is_spent():
    config = validate_config({"privacy": {"weights_epsilon": 8, "transitions_epsilon": 2}}, "the test")
    spent = {"epsilon_weights": 3.217, "epsilon_transitions": 0.0}
    latest = RoundMetrics(
        round=3, finished_at=datetime.fromtimestamp(0, UTC), is_best=False, checkpoint=False, metrics={"train": spent}
    )
    weights, transitions = spent_of(latest, config)
    assert "spent ε = 3.22 of 8 at δ = 5e-07" in weights
    assert "spent nothing yet" in transitions
    released = latest.model_copy(update={"metrics": {"train": {"epsilon_transitions": 2.0}}})
    assert "of round 40, is from before and has none of it" in spent_of(released, config, 40)[0]
    assert "from before" not in spent_of(released, config, 50)[0]
    assert spent_of(latest.model_copy(update={"metrics": {"train": {}}}), config) == []
    beside = latest.model_copy(update={"metrics": {"train": {"epsilon_weights": 3.2, "epsilon_prototypes": 1.5}}})
    assert "prototypes have spent ε = 1.5 beside it" in spent_of(beside, config)[1]


def test_clients_at_nodes_are_counted_by_node():
    told = {"nodes": 3.0, "nodes_missing": 1.0, "nodes_refused": 2.0}
    latest = RoundMetrics(
        round=7, finished_at=datetime.fromtimestamp(0, UTC), is_best=False, checkpoint=False, metrics={"train": told}
    )
    assert "In round 7, 3 of 4 nodes answered in time; answers refused: 2" in nodes_of(latest)


def test_privacy_says_how_leaks_are_measured_and_shows_them(page, filled):
    unmeasured = page("privacy", filled.api, job=filled.running)
    assert f"fedmem audit {filled.running} --attacks" in words(unmeasured)
    measured = page("privacy", filled.api, job=filled.full)
    meter = table(measured, 1)
    assert meter.to_numpy().tolist() == [["0.970", "Items of a history, from rows", "0.500", "0.680", "AUC"]]
    assert "7 clients took part once more after round 8" in words(measured)


def test_clients_say_nothing_of_prototypes_that_there_are_none_of(page, filled):
    labels = [
        [metric.label for metric in page("clients", filled.api, job=job).metric]
        for job in (filled.full, filled.without_memory)
    ]
    assert set(labels[0]) - set(labels[1]) == {"Of that, prototypes"}


def test_memory_says_that_a_run_has_none(page, filled):
    app = page("memory", filled.api, job=filled.without_memory)
    assert "no memory" in words(app)
    assert "keeps no transitions" in words(app)
    assert specs(app) == []


def test_memory_shows_what_follows_what_by_title(page, filled):
    app = page("memory", filled.api, job=filled.full)
    found = filled.get("/memory/transitions")
    rows, shown = found["rows"], table(app)
    assert f"answers by {found['interactions']:,} interactions" in words(app)
    best = filled.get(f"/jobs/{filled.full}")["best_round"]
    found = filled.get(f"/jobs/{filled.full}/metrics?limit=500")["rounds"]
    told = weights_in_use([RoundMetrics.model_validate(each) for each in found], best)
    assert told is not None
    assert told in words(app)
    assert list(shown["After"]) == [f"{place}. {row['title']}" for place, row in enumerate(rows, 1)]
    assert list(shown["Weight"]) == [f"{row['weight']:.1f}" for row in rows]
    assert shown["Others took next"][0] == ", ".join(item["title"] for item in rows[0]["followers"])
    assert f"How the row after {rows[0]['title']} grew" in words(app)
    app.text_input(key="after").set_value(rows[1]["title"]).run()
    assert not app.exception
    (choice,) = [box for box in app.selectbox if box.label == "Item"]
    choice.select(rows[1]["item_id"]).run()
    row = filled.get(f"/memory/transitions?item_id={rows[1]['item_id']}&followers=20")["rows"][0]
    assert list(table(app, 1)["Others took next"]) == [item["title"] for item in row["followers"]]
    assert f"How the row after {rows[1]['title']} grew" in words(app)
    grown = filled.get(f"/memory/transitions/growth?item_id={rows[1]['item_id']}&job={filled.full}")
    domain = specs(app)[-1]["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert domain == [f"{place}. {one['title']}" for place, one in enumerate(grown["followers"], 1)]
    app.text_input(key="after").set_value("no such title").run()
    assert "No title contains “no such title”" in words(app)


def test_memory_shows_what_the_scores_are_made_of(page, filled):
    app = page("memory", filled.api, job=filled.full)
    found = filled.get(f"/memory/shares?job={filled.full}")["shares"]
    assert abs(sum(found.values()) - 1) < 1e-6, "the trainer measured them"
    greatest = max(found, key=found.__getitem__)
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown[PARTS[greatest]] == f"{found[greatest]:.1%}"
    assert "when all rounds are done" in words(page("memory", filled.api, job=filled.running))


def test_memory_says_when_the_rows_of_a_job_can_be_seen(page, filled):
    assert "Its rows can be seen when the job ends." in words(page("memory", filled.api, job=filled.running))


def test_prototypes_are_named_by_their_nearest_titles(page, filled):
    told = filled.get(f"/memory/prototypes?job={filled.full}")
    app = page("prototypes", filled.api, job=filled.full)
    html = "".join(html_of(app))
    assert all(prototype["nearest"][0]["title"] in html for prototype in told["prototypes"] if prototype["nearest"])
    slider = app.select_slider[0]
    assert [int(option) for option in slider.options] == told["rounds"]
    slider.set_value(told["rounds"][0]).run()
    assert not app.exception


@pytest.mark.parametrize(("job", "linked"), [("full", True), ("without_memory", False)])
def test_prototypes_lead_to_what_follows_what_where_it_is_remembered(page, filled, job, linked):
    app = page("prototypes", filled.api, job=getattr(filled, job))
    labels = [link.proto.label for link in app.get("page_link")]
    assert any("what follows what" in label for label in labels) == linked


def test_a_prototype_shows_what_it_alone_recommends(page, filled):
    app = page("prototypes", filled.api, job=filled.full, prototype="P2")
    answer = filled.get("/memory/prototypes/1/recommendations?k=10")
    alone = next(
        block for block in html_of(app) if answer["items"][-1]["title"] in block and 'class="fm-list"' in block
    )
    places = [alone.index(f">{item['title']}</div>") for item in answer["items"]]
    assert places == sorted(places)
    assert all(f"{item['score']:.2f}" in alone for item in answer["items"])
    assert f"By {answer['model_version']}, which" in words(app)


def test_a_prototype_of_a_job_that_does_not_serve_says_what_to_do(page, filled):
    said = words(page("prototypes", filled.api, job=filled.running))
    assert "has no model yet" in said
    own, other = (filled.get(f"/jobs/{job}")["model_version"] for job in (filled.full, filled.without_memory))
    try:
        filled.activate(other)
        said = words(page("prototypes", filled.api, job=filled.full))
    finally:
        filled.activate(own)
    assert f"{own}, does not serve now; {other} does" in said
    assert "System page" in said


def test_the_choices_among_prototypes_are_in_the_url(page, filled):
    rounds = filled.get(f"/memory/prototypes?job={filled.full}")["rounds"]
    app = page("prototypes", filled.api, job=filled.full, round=rounds[0], prototype="P2")
    assert app.select_slider[0].value == rounds[0]
    assert app.button_group(key=f"prototype-{filled.full}").value == 1
    app.select_slider[0].set_value(rounds[1]).run()
    assert app.query_params["round"] == str(rounds[1])
    app.select_slider[0].set_value(rounds[-1]).run()
    assert "round" not in app.query_params, "the newest is followed, not linked to"


def test_the_choice_of_a_prototype_goes_with_its_job(page, filled):
    app = page("prototypes", filled.api, job=filled.full, prototype="P2")
    app.sidebar.selectbox[0].select(filled.running).run()
    assert app.button_group(key=f"prototype-{filled.running}").value == 0
    assert "prototype" not in app.query_params
    app.button_group(key=f"prototype-{filled.running}").set_value(2).run()
    assert app.query_params["prototype"] == "P3"


def test_recommend_sets_memory_beside_none_and_warm_beside_cold(page, filled):
    app = page("recommend", filled.api, user="u01")
    lists = [block for block in html_of(app) if 'class="fm-list"' in block]
    asked = ("/recommend/u01?k=10", "/recommend/u01?k=10&memory=false")
    for block, path in zip(lists, asked, strict=False):
        answer = filled.get(path)
        places = [block.index(f">{item['title']}</div>") for item in answer["items"]]
        assert places == sorted(places)
        assert all(f"{item['score']:.2f}" in block for item in answer["items"])
    assert len(lists) == 3
    said = words(app)
    assert all(title in said for title in ("Without memory", "With nothing", "reads their own memory"))
    assert "Sequence model: +" in lists[0], "the parts of a score are told"
    assert "Memory by" not in lists[1]


def test_recommend_lets_the_reader_choose_between_data_sets(page, two_api):
    app = page("recommend", two_api)
    choice = app.selectbox(key="of-dataset")
    assert (choice.options, choice.value) == (["books", "tiny"], "books")
    assert ">Book " in "".join(html_of(app))
    app.query_params["user"] = "u03"
    choice.set_value("tiny").run()
    assert not app.exception
    assert (app.query_params["dataset"], app.query_params["user"]) == ("tiny", "u00")
    assert "on tiny" in words(app)
    assert ">Film " in "".join(html_of(app))
    assert ">Book " not in "".join(html_of(app))
    linked = page("recommend", two_api, dataset="tiny", user="u03")
    assert linked.query_params["user"] == "u03"


def test_system_and_overview_say_which_models_serve_which_data_set(page, two_api):
    serving = {one["dataset"]: one["model_version"] for one in asked(f"{two_api}/models").json()["in_service"]}
    system = page("system", two_api)
    assert "; ".join(f"{dataset} by {version}" for dataset, version in serving.items()) in words(system)
    states = next(shown for shown in word_tables(system) if "Note" in shown)
    assert list(states["State"]) == ["ready", "in service", "in service"]
    assert states["Note"][0] == "waits: promotion is manual"
    overview = words(page("overview", two_api))
    assert "Models in service" in overview
    assert all(version in overview for version in serving.values())


def notes(app):
    shown = next(shown for shown in word_tables(app) if "Note" in shown)
    return dict(zip(shown["Model"], shown["Note"], strict=True))


def test_system_says_why_a_model_is_ready_that_nothing_held_back(filled):
    job = Job.model_validate(filled.get(f"/jobs/{filled.without_memory}"))
    found = next(one for one in filled.get("/models")["models"] if one["job_id"] == job.id)
    model = ModelVersion.model_validate(found | {"state": "ready", "waits": None, "refused": None})
    assert note_of(model, None, job) == "an experiment's model goes into service by hand alone"
    goes_on = job.model_copy(update={"kind": "training", "start_from": 1, "snapshot": "newest"})
    kept = "no round of its job was better than the model that served, which stayed"
    assert note_of(model, None, goes_on) == kept
    assert note_of(model.model_copy(update={"state": "replaced"}), None, goes_on) == ""


def test_a_model_that_waits_is_told_put_into_service_and_taken_back(page, two_api):
    assert "Its model is ready and waits: promotion is manual" in words(page("overview", two_api, job=3))
    serving = {one["dataset"]: one["model_version"] for one in asked(f"{two_api}/models").json()["in_service"]}
    app = page("system", two_api)
    assert "rollback" not in {button.key for button in app.button}
    app.button(key="activate").click().run()
    assert "answers every recommendation on tiny" in words(app)
    app.button(key="confirm-activate").click().run()
    assert not app.exception
    history = next(shown for shown in word_tables(app) if "Why" in shown)
    assert history["Why"][0] == "asked for by HTTP"
    assert list(history["Until"])[:2].count("now") >= 1
    app.button(key="rollback").click().run()
    app.button(key="leave-rollback").click().run()
    assert len(asked(f"{two_api}/models/history").json()["activations"]) == 3
    app.button(key="rollback").click().run()
    app.button(key="confirm-rollback").click().run()
    assert not app.exception
    assert {one["dataset"]: one["model_version"] for one in asked(f"{two_api}/models").json()["in_service"]} == serving
    assert "Its model is ready" not in words(page("overview", two_api, job=3))


def test_recommend_names_the_items_of_the_history_that_speak_for_one(page, filled):
    app = page("recommend", filled.api, user="u01")
    warm, without, nothing = [block for block in html_of(app) if 'class="fm-list"' in block]
    for item in filled.get("/recommend/u01?k=10&explain=true")["items"]:
        titles = [part["title"] for part in item["explanation"]["remembered"][:2]]
        assert not titles or f">Because of {', '.join(titles)}</div>" in warm
    assert "What others took next: +" in warm
    assert "Because of" not in without
    assert "Popularity: +" in nothing
    assert "goes by popularity" in words(app)


def test_taking_interactions_away_is_in_the_url(page, filled):
    app = page("recommend", filled.api, user="u01", latest=2)
    assert app.slider[0].value == 2
    assert "With the latest 2" in words(app)
    app.slider[0].set_value(1).run()
    assert app.query_params["latest"] == "1"
    assert "With the latest interaction" in words(app)


def test_recommend_explains_the_answer_that_is_picked(page, filled):
    app = page("recommend", filled.api, user="u01", why="Without memory")
    assert app.button_group(key="why").value == "without"
    assert "No memory was read" in words(app)
    assert len(specs(app)) == 1


def test_recommend_for_a_history_put_together_by_titles(page, filled):
    app = page("recommend", filled.api, items="m01,m02")
    assert "Your own history has taken 2 items" in words(app).replace("**", "")
    app.text_input[0].set_value("Film 7").run()
    app.button(key="add-m07").click().run()
    assert not app.exception
    assert app.query_params["items"] == "m01,m02,m07"
    app.multiselect[0].unselect("m02").run()
    assert app.query_params["items"] == "m01,m07"


def test_whose_history_it_was_is_kept_while_another_page_is_open(page, filled):
    def elsewhere_and_back(app):
        app.switch_page("views/system.py").run()
        app.query_params.clear()  # as the browser does
        return app.switch_page("views/recommend.py").run()

    app = elsewhere_and_back(page("recommend", filled.api, items="m01,m02"))
    assert app.segmented_control[0].value == "A history of your own"
    assert app.query_params["items"] == "m01,m02"
    app.segmented_control[0].set_value("A known user").run()
    app.selectbox(key="user-choice").select("u03").run()
    app = elsewhere_and_back(app)
    assert app.segmented_control[0].value == "A known user"
    assert app.query_params["user"] == "u03"
    assert "items" not in app.query_params


def test_a_linked_history_has_titles_and_tells_what_is_not_in_the_catalogue(page, filled):
    app = page("recommend", filled.api, items="m01,no%2Csuch,m02")
    (warning,) = app.warning
    assert "“no,such”" in read(warning.value)
    assert app.multiselect[0].options == ["Film 1", "Film 2"]
    assert "taken 2 items" in words(app)


def test_lists_that_are_cut_say_so(page, filled, monkeypatch):
    monkeypatch.setattr("dashboard.components.history.MOST_USERS", 5)
    monkeypatch.setattr("dashboard.components.history.FOUND", 3)
    assert "the first 5 users" in words(page("recommend", filled.api, user="u01"))
    app = page("recommend", filled.api, items="m01")
    assert "With 1 interaction" in words(app).replace("#### ", "")
    assert "With all 1" not in words(app)
    app.text_input[0].set_value("Film").run()
    total = filled.get("/items?q=Film")["total"]
    assert f"3 of {total} titles" in words(app)


def test_a_long_history_is_shown_bit_by_bit_to_its_beginning(page, filled, monkeypatch):
    monkeypatch.setattr("dashboard.components.history.AT_ONCE", 4)
    taken = filled.get("/users/u01/history")["interactions"]
    titles = [entry["title"] for entry in reversed(taken)]

    def shown(app):
        (strip,) = [block for block in html_of(app) if 'class="fm-strip"' in block]
        return re.findall(r'title="(.*?)"', strip)

    app = page("recommend", filled.api, user="u01")
    for number in range(4, len(titles), 4):
        assert shown(app) == titles[:number]
        assert f"{number} of them are shown" in words(app)
        app.button(key="earlier-items").click().run()
    assert shown(app) == titles
    assert "of them are shown" not in words(app)
    assert "earlier-items" not in {button.key for button in app.button}


def test_experiments_are_a_table_with_standard_errors(page, filled):
    app = page("experiments", filled.api)
    models = {model["job_id"]: model["metrics"] for model in filled.get("/models")["models"]}
    shown = table(app)
    assert list(shown["Run"])[:2] == ["FedMem-NoMemory", "FedMem-Full"]
    tested = models[filled.full]["test"]
    assert list(shown["Test HR@10"])[1] == f"{share(tested['HR@10'])} ± {share(tested['HR@10_se'])}"
    last = filled.get(f"/jobs/{filled.full}/metrics")["rounds"][-1]["metrics"]["train"]
    down = last["bytes_down_weights"] + last["bytes_down_prototypes"]
    up = last["bytes_up_weights"] + last["bytes_up_prototypes"] + last["bytes_up_transitions"]
    assert list(shown["KB down / up"])[1] == f"{down / 1e3:,.1f} / {up / 1e3:,.1f}"
    assert "`ablation.disable_memory` True instead of False" in words(app)


def test_an_ablation_shows_its_table_and_which_differences_are_real(page, filled):
    app = page("experiments", filled.api, experiment="ladder")
    tables = word_tables(app)
    listed = next(shown for shown in tables if "Commit" in shown)
    assert set(listed["Name"]) == {"ladder", "search"}
    rungs = next(shown for shown in tables if "Model" in shown and "Test NDCG@10" in shown)
    assert list(rungs["Model"]) == [model["name"] for model in ABLATION["models"]]
    assert list(rungs["Test NDCG@10"])[-1] == ".260 ± .010"
    assert list(rungs["Round"])[-1] == "3 / 4, 3 / 4"
    assert "Configurations trained: 2. Seeds: 1, 2. Users evaluated: 12." in words(app)
    drawn = [spec for spec in specs(app) if "Difference in NDCG@10 (test)" in axis_titles(spec)]
    assert len(drawn) == 1
    new_users = next(shown for shown in tables if "n = 10" in shown)
    assert list(new_users["n = 10"]) == [".200 ± .010"]
    new_items = next(shown for shown in tables if "NDCG@20" in shown)
    assert list(new_items["Minus ridge on genres, per user"]) == ["–", "+.030 (+.010 to +.050)"]
    app.selectbox(key="differences-ladder").select("item-item counts").run()
    assert "item-item counts minus the other, NDCG@10" in words(app)


def test_a_search_shows_its_trials_best_first_and_how_far_it_is(page, filled):
    app = page("experiments", filled.api, experiment="search")
    assert app.query_params["experiment"] == "search"
    said = words(app)
    assert "4 of 6 trials are through" in said
    assert "Trials: 4 of 6. Configurations tried: 4, in 60 s. Best: trial 3, .250." in said
    trials = table(app, -1)
    assert list(trials["Trial"]) == ["3", "0", "1", "2"]
    assert list(trials["State"])[-1] == "failed: it must divide"
    titles = [axis_titles(spec) for spec in specs(app)]
    assert {"Trial (number)", "Validation: NDCG at 10 (0 to 1)"} in titles


def test_system_shows_models_data_sets_and_the_log(page, filled):
    app = page("system", filled.api, job=filled.full)
    (log,) = app.code
    lines = filled.get(f"/jobs/{filled.full}/logs")["lines"]
    assert lines[-1]["message"] in log.value
    assert any("in service" in shown.to_string() for shown in word_tables(app))


def test_the_buttons_of_the_system_page_stay_when_the_backend_goes(page, filled, monkeypatch):
    def away(_):
        raise BackendAwayError("It does not answer.")

    app = page("system", filled.api)
    tables = len(word_tables(app))
    monkeypatch.setattr("dashboard.client.ApiClient.trainers", away)
    app.run()
    assert len(word_tables(app)) == tables
    assert not app.error
    assert "You see what it said last" in app.warning[0].value
    assert "does not answer at" in words(app)


def test_the_log_opens_on_its_last_lines_and_goes_back(page, filled):
    for number in range(250):
        filled.trainer.jobs.log(filled.lease, "INFO", f"line {number}")
    app = page("system", filled.api, job=filled.running)
    (log,) = app.code
    assert log.value.splitlines()[0].endswith("line 249")
    assert len(log.value.splitlines()) == 200
    app.button(key="earlier-lines").click().run()
    lines = app.code[0].value.splitlines()
    assert len(lines) == len(set(lines)) > 250
    filled.trainer.jobs.log(filled.lease, "INFO", "the last word")
    app.run()
    assert app.code[0].value.splitlines()[0].endswith("the last word")


def test_the_question_before_another_model_serves_stays_until_it_is_answered(page, filled):
    def is_asked(app):
        return "confirm-activate" in {button.key for button in app.button}

    serving = filled.get("/models")["serving"]
    app = page("system", filled.api, job=filled.full)
    app.button(key="activate").click().run()
    assert is_asked(app)
    assert is_asked(app.run())  # as news of a job would
    app.button(key="leave-activate").click().run()
    assert not is_asked(app)
    assert filled.get("/models")["serving"] == serving


ODD = ("\x00", "²", "9" * 5000, str(2**63), "1,1,2,2,%ff,%")
ADDRESSED: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("overview", "clients", "memory", "privacy", "schedules", "system", "datasets"), ("job",)
)
ADDRESSED |= {
    "experiments": ("experiment",),
    "training": ("job", "compare", "k", "new"),
    "recommend": ("job", "user", "latest", "k"),
    **dict.fromkeys(("online", "items", "users"), ("job", "dataset")),
    "prototypes": ("job", "round", "prototype"),
}


def test_every_page_is_asked_for_by_odd_addresses(project_root):
    assert ADDRESSED.keys() == {path.stem for path in (project_root / "dashboard" / "views").glob("[a-z]*.py")}


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(odd[:8]))
def test_no_address_ends_in_an_error(page, filled, odd):
    for name, parameters in ADDRESSED.items():
        assert "not known" not in words(page(name, filled.api, **dict.fromkeys(parameters, odd)))
    page("recommend", filled.api, items=odd, latest=odd)
    for name in ("training", "prototypes"):
        page(name, filled.api, **dict.fromkeys(ADDRESSED[name], odd) | {"job": filled.full})


def test_the_online_page_shows_what_the_api_counts(page, filled):
    app = page("online", filled.api)
    found = filled.get("/evaluation/online")
    (version,) = found["by_version"]
    shown = word_tables(app)[0].iloc[0]
    assert (shown["Model"], shown["Answers"], shown["Clicks"][:2]) == (version["name"], "3", "1 ")
    assert [row["Position"] for _, row in word_tables(app)[2].iterrows()] == [g["name"] for g in found["by_position"]]


def test_the_online_page_says_how_answers_are_noted(page, two_api):
    app = page("online", two_api)
    assert "No answer was noted yet" in words(app)
    assert "FEDMEM_IMPRESSIONS" in words(app)


def test_an_ab_test_is_started_and_stopped_on_the_online_page(page, two_api):
    app = page("online", two_api, dataset="tiny")
    app.button(key="ab-start").click().run()
    app.button(key="confirm-ab-start").click().run()
    (test,) = asked(f"{two_api}/ab-tests?dataset=tiny").json()["tests"]
    assert (test["share"], test["ended_at"]) == (0.5, None)
    app.run()
    assert "too few users are judged yet" in words(app)
    tried, control = test["treatment"]["model_version"], test["control"]["model_version"]
    assert notes(page("system", two_api))[tried] == f"A/B test {test['id']}: answers 50% of the users of {control}"
    app.button(key="ab-stop").click().run()
    app.button(key="confirm-ab-stop").click().run()
    (test,) = asked(f"{two_api}/ab-tests?dataset=tiny").json()["tests"]
    assert test["ended_because"] == "stopped by HTTP"
    app.run()
    assert "stopped by HTTP" in word_tables(app)[-1].iloc[0]["Why"]


def test_no_model_is_offered_for_an_ab_test_that_equals_the_one_in_service(tmp_path):
    product = Product.made(tmp_path)
    versions = []
    for parent, last in ((None, 1), (1, 2), (1, 2)):  # each but the first goes on from it with the same data
        origin = {} if parent is None else {"start_from": parent, "snapshot": "same"}
        made, _ = product.jobs.create(kind="training", dataset="tiny", config={}, num_rounds=9, **origin)
        _, lease = product.jobs.claim("trainer", 600, 3)
        product.jobs.begin(lease, snapshot_digest="digest", last_interaction_id=None)
        if parent is not None:
            product.jobs.inherit(lease, parent)
        product.jobs.commit_round(lease, RoundResult(last, made.id != 2, f"{last:06d}", {}))
        best = 1 if made.id == 2 else last
        product.jobs.finish(lease, "succeeded", model_round=best, activate=made.id == 1)
        versions.append(f"job-{made.id}-round-{best}")
    with backend_on(product.url, product.data_dir) as api:
        models = ModelPage.model_validate(asked(f"{api}/models").json()).models
    serving, equal, better = versions
    assert {one.version: one.equal for one in models} == {serving: False, equal: True, better: False}
    kept = [one.model_copy(update={"kept": True}) for one in models]
    assert to_try(kept, "tiny") == [better]


def test_a_trainer_that_was_killed_is_told_from_one_that_runs_and_forgotten(page, tmp_path, monkeypatch):
    product = Product.made(tmp_path)
    for worker, minutes in (("runs", 0), ("killed", 14), ("long ago", 90)):
        product.jobs.seen(worker, None)
        seen = schema.trainers.update().where(schema.trainers.c.worker == worker)
        with writing(product.engine) as connection:
            connection.execute(seen.values(seen_at=time.time() - 60 * minutes))
    with backend_on(product.url, product.data_dir) as api:
        app = page("system", api)
    assert "1 running, 1 silent" in words(app)
    assert sorted(word_tables(app)[0]["Trainer"]) == ["killed", "runs"]
    assert "A silent trainer has said nothing for a while" in words(app)


def test_each_cell_of_a_table_has_its_label_for_a_narrow_window(page, two_api):
    (body,) = [one for one in html_of(page("system", two_api)) if ">Note<" in one]
    labels = re.findall(r'data-label="(.*?)"', body)
    assert labels == 3 * re.findall(r"<th>(.*?)</th>", body), "of three models"
