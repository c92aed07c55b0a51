"""Series of the queue, trainers, leases, rounds, answers and models, and that deploy/ names none that is not there."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest
import yaml
from prometheus_client import CollectorRegistry

from backend.operation_metrics import EVERY, OperationMetrics
from fedmem.contracts import Rate
from fedmem.storage.impressions import By
from fedmem.storage.job_overview import overview
from fedmem.storage.jobs import JobStore, RoundResult, Verdict
from fedmem.storage.models import ModelStore
from fedmem.storage.schedules import ScheduleStore
from tests.clock import Clock

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD, ALERTS = DEPLOY / "grafana" / "fedmem.json", DEPLOY / "prometheus" / "alerts.yml"
SERIES = re.compile(r"\b(?:fedmem|process)_[a-z_]+")


class Shown:
    """What Prometheus would read of a database."""

    def __init__(self, engine, clock):
        self.engine, self.registry, self.clock = engine, CollectorRegistry(), clock
        self.metrics = OperationMetrics(self.registry, clock)

    def __call__(self, name: str, **labels: str):
        return self.registry.get_sample_value(f"fedmem_{name}", labels)

    def look(self) -> "Shown":
        self.metrics.show(overview(self.engine), ModelStore(self.engine).all_active())
        return self


@pytest.fixture
def clock() -> Clock:
    return Clock(2e9)


@pytest.fixture
def store(engine, clock) -> JobStore:
    return JobStore(engine, clock)


@pytest.fixture
def shown(engine, clock) -> Shown:
    return Shown(engine, clock)


def queue(store) -> int:
    return store.create(kind="training", dataset="tiny", config={"data": {}}, num_rounds=9)[0].id


def test_the_queue_and_its_oldest_job(store, shown, clock):
    assert (shown.look()("jobs", state="queued"), shown("job_queue_seconds")) == (0, 0)
    queue(store)
    clock.advance(90)
    queue(store)
    assert (shown.look()("jobs", state="queued"), shown("job_queue_seconds")) == (2, 90)


def test_a_running_job_and_its_rounds_until_it_ends(store, shown, clock):
    job = queue(store)
    _, lease = store.claim("trainer", 30, 3)
    store.begin(lease, snapshot_digest="digest", last_interaction_id=None)
    labels = {"job": str(job), "dataset": "tiny"}
    assert shown.look()("job_round", **labels) == 0
    assert shown("job_last_round_timestamp_seconds", **labels) is None
    store.commit_round(lease, RoundResult(1, True, "000001", {"train": {"loss": 1.0}}))
    assert shown.look()("job_round", **labels) == 1
    assert shown("job_rounds_planned", **labels) == 9
    assert shown("job_last_round_timestamp_seconds", **labels) == clock.now
    store.finish(lease, "succeeded", model_round=1, activate=True)
    clock.advance(60)
    assert shown.look()("job_round", **labels) is None
    assert shown("jobs", state="succeeded") == 1
    version = {"dataset": "tiny", "version": f"job-{job}-round-1"}
    assert shown("model_created_timestamp_seconds", **version) == clock.now - 60


def test_a_model_that_is_held_back_until_a_newer_one_is_not(store, shown, clock):
    def left(held_back: str | None) -> str:
        job = queue(store)
        _, lease = store.claim("trainer", 30, 3)
        store.begin(lease, snapshot_digest="digest", last_interaction_id=None)
        store.commit_round(lease, RoundResult(1, True, "000001", {}))
        store.finish(lease, "succeeded", model_round=1, verdict=Verdict(held_back is None, held_back))
        return f"job-{job}-round-1"

    waits = left("it is worse")
    assert shown.look()("model_waiting_timestamp_seconds", dataset="tiny", version=waits) == clock.now
    serves = left(None)
    shown.look()
    for version in (waits, serves):
        assert shown("model_waiting_timestamp_seconds", dataset="tiny", version=version) is None
    again = left("it is worse")
    assert shown.look()("model_waiting_timestamp_seconds", dataset="tiny", version=again) == clock.now
    ModelStore(store.engine).activate(again, "asked for")
    assert shown.look()("model_waiting_timestamp_seconds", dataset="tiny", version=again) is None


def test_a_schedule_in_trouble_unless_it_is_paused(engine, store, shown):
    schedules = ScheduleStore(engine)
    made = schedules.create(dataset="tiny", cron="0 3 * * *", rounds=5)
    labels = {"schedule": str(made.id), "dataset": "tiny"}
    assert shown.look()("schedule_in_trouble", **labels) == 0
    schedules.change(made.id, message="no room")
    assert shown.look()("schedule_in_trouble", **labels) == 1
    schedules.change(made.id, paused=True)
    assert shown.look()("schedule_in_trouble", **labels) == 0
    schedules.remove(made.id)
    assert shown.look()("schedule_in_trouble", **labels) is None


def test_trainers_and_the_leases_that_they_lose(store, shown, clock):
    queue(store)
    store.seen("first", None)
    store.claim("first", 30, 3)
    assert (shown.look()("trainers"), shown("trainers_silent"), shown("leases_expired")) == (1, 0, 0)
    clock.advance(121)
    store.seen("second", None)
    assert (shown.look()("trainers"), shown("trainers_silent"), shown("leases_expired")) == (1, 1, 1)
    assert shown("lease_losses_total") == 0
    store.claim("second", 30, 3)
    assert (shown.look()("leases_expired"), shown("lease_losses_total")) == (0, 1)
    assert shown.look()("lease_losses_total") == 1, "one is counted once"


def test_a_job_that_is_handed_back_is_no_loss(store, shown):
    queue(store)
    _, lease = store.claim("first", 30, 3)
    shown.look()
    store.release(lease)
    store.claim("second", 30, 3)
    assert shown.look()("lease_losses_total") == 0


def test_it_is_looked_at_now_and_then(shown, clock):
    assert shown.metrics.due
    shown.look()
    assert not shown.metrics.due
    clock.advance(EVERY)
    assert shown.metrics.due


def named_in(path: Path) -> set[str]:
    """The series of all expressions."""
    if path == DASHBOARD:
        told = json.loads(path.read_text(encoding="utf-8"))
        found = [target["expr"] for panel in told["panels"] for target in panel["targets"]]
    else:
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        found = [rule["expr"] for group in groups for rule in group["rules"]]
    assert found
    return {name for expression in found for name in SERIES.findall(expression)}


def test_every_series_that_the_dashboard_and_the_alerts_name_is_there(served):
    for path in ("/recommend/u01", "/recommend/unknown"):
        served.get(path)
    served.post("/recommend", json={"history": ["3"]})
    served.post("/recommend/batch", json={"requests": [{"history": ["3"]}]})
    served.app.state.services.note()
    text = served.get("/metrics").text
    assert 'fedmem_recommendations_total{dataset="tiny",strategy="model"} ' in text
    assert 'fedmem_jobs{state="succeeded"} 1.0' in text
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    there = {name.removesuffix("_total") + end for name, kind in types.items() for end in suffixes.get(kind, ())}
    for path in (DASHBOARD, ALERTS):
        assert named_in(path) - there == set(), path.name


def test_the_panels_show_online_evaluation_waiting_models_and_troubled_schedules():
    named = named_in(DASHBOARD)
    assert {"fedmem_online_rate", "fedmem_online_answers", "fedmem_impressions_lost_total"} <= named
    assert {"fedmem_model_waiting_timestamp_seconds", "fedmem_schedule_in_trouble"} <= named


def test_panels_and_alerts_name_labels_that_their_series_have(served):
    known = served.app.state.http_metrics.registry._names_to_collectors
    told = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for target in (target for panel in told["panels"] for target in panel["targets"]):
        expression, legend = target["expr"], target["legendFormat"]
        ours = [known[name] for name in SERIES.findall(expression) if name in known]
        labels = {"le"}.union(*(getattr(each, "_labelnames", ()) for each in ours))
        used = {*re.findall(r'(\w+)[!=]~?"', expression), *re.findall(r"{{(\w+)}}", legend)}
        used |= {name for names in re.findall(r"by \(([^)]*)\)", expression) for name in names.split(", ")}
        assert used <= labels, expression


def test_panels_choose_values_that_the_online_evaluation_has():
    values = {"by": set(get_args(By)), "outcome": {"click", "hit"}, "bound": set(Rate.model_fields)}
    expressions = DASHBOARD.read_text(encoding="utf-8").replace('\\"', '"')
    for name, value in re.findall(r'(by|outcome|bound)="(\w+)"', expressions):
        assert value in values[name]


def test_before_the_first_model_no_error_is_alarming():
    """A probe of readiness is told 503 on purpose, and so is a shop that asks before there is a model."""
    rules = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
    errors = next(rule["expr"] for rule in rules if rule["alert"] == "FedMemErrors")
    assert errors.count('route!="/health/ready"') == errors.count("fedmem_http_requests_total")
    assert "and on() count(fedmem_model_created_timestamp_seconds) > 0" in errors


def test_counters_alone_are_counted_as_such():
    for series in re.findall(r"(?:rate|increase)\((\w+)", ALERTS.read_text(encoding="utf-8")):
        assert series.endswith(("_total", "_bucket")), series


def test_promtool_takes_the_rules():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    subprocess.run([promtool, "check", "config", DEPLOY / "prometheus" / "prometheus.yml"], check=True)
