"""A client that a public generator makes of the OpenAPI document, against the real backend."""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.dashboard.sites import backend_on
from tests.end_to_end.products import Product
from tests.waiting import PATIENCE, until

KEY = "the key of this test"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """With one trained model."""
    product = Product.made(tmp_path_factory.mktemp("product"))
    product.queue()
    product.train()
    return product


@pytest.fixture(scope="module")
def address(product: Product) -> Iterator[str]:
    """Of a backend that has a model in service."""
    with backend_on(product.url, product.data_dir, api_key=KEY, refresh_seconds=0.05) as address:
        until(lambda: httpx.get(f"{address}/health/ready", timeout=PATIENCE).is_success, "the model")
        yield address


@pytest.fixture(scope="module")
def generated(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The package that the generator makes of the document that the backend serves."""
    if importlib.util.find_spec("openapi_python_client") is None:
        pytest.skip("openapi-python-client is not installed: pip install 'fedmem[dev]'")
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_text(httpx.get(f"{address}/openapi.json", timeout=PATIENCE).text, encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"post_hooks": []}), encoding="utf-8")
    place = folder / "fedmem_api"
    options = ("--path", "openapi.json", "--config", "config.json", "--meta", "none", "--output-path", str(place))
    made = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    # The generator knows no pictures; everything else it has understood.
    assert re.findall(r"WARNING parsing (.*) within", made.stdout + made.stderr) == ["GET /items/{item_id}/image"]
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("fedmem_api")
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == "fedmem_api"]:
            del sys.modules[name]


@pytest.fixture
def client(generated: ModuleType, address: str) -> Iterator[Any]:
    """With the key."""
    with authenticated(generated, address, KEY) as client:
        yield client


def authenticated(generated: ModuleType, address: str, key: str) -> Any:
    given = {"prefix": "", "auth_header_name": "X-API-Key", "timeout": PATIENCE, "raise_on_unexpected_status": True}
    return generated.AuthenticatedClient(base_url=address, token=key, **given)


def call(name: str, *arguments: Any, **parameters: Any) -> Any:
    """Status and parsed answer of ``call("jobs.get_job", 1, client=client)``."""
    answer = importlib.import_module(f"fedmem_api.api.{name}").sync_detailed(*arguments, **parameters)
    assert answer.parsed is not None, f"{name} answered {answer.status_code} with {answer.content!r}"
    return answer.status_code, answer.parsed


def models() -> Any:
    return importlib.import_module("fedmem_api.models")


def test_a_known_user_and_the_following_page(client):
    status, first = call("recommendations.recommend", "u03", client=client, k=3, explain=True)
    assert (status, first.user_id, first.strategy, len(first.items)) == (200, "u03", "model", 3)
    top = first.items[0]
    parts = top.explanation.sequence + sum(top.explanation.experts.additional_properties.values())
    remembered = sum(part.score for part in top.explanation.remembered)
    assert parts + top.explanation.availability + remembered == pytest.approx(top.score, abs=1e-5)
    _, second = call("recommendations.recommend", "u03", client=client, k=3, offset=3, model=first.model_version)
    assert not {item.item_id for item in first.items} & {item.item_id for item in second.items}


def test_a_history_sent_along_and_a_batch_of_both(client):
    request = models().RecommendationRequest(history=["m01", "m02", "m03", "m04", "m05", "gone"], k=4)
    _, alone = call("recommendations.recommend_for_history", client=client, body=request)
    assert (alone.user_id, len(alone.items), alone.unknown_items) == (None, 4, ["gone"])
    questions = [
        models().RecommendationRequest(history=request.history, k=4),
        models().RecommendationRequest(user_id="u03", k=2),
    ]
    batch = models().BatchRequest(requests=questions)
    _, together = call("recommendations.recommend_batch", client=client, body=batch)
    assert [item.item_id for item in together.answers[0].items] == [item.item_id for item in alone.items]
    assert (together.answers[1].user_id, len(together.answers[1].items)) == ("u03", 2)


def test_feedback_counts_from_the_next_answer_on(client):
    _, before = call("recommendations.recommend", "newcomer", client=client, k=1)
    best = before.items[0].item_id
    event = models().FeedbackEvent(user_id="newcomer", item_id=best, timestamp=1e9)
    _, stored = call("users.add_feedback", client=client, body=models().FeedbackRequest(events=[event]))
    assert stored.accepted == 1
    _, after = call("recommendations.recommend", "newcomer", client=client, k=50)
    assert best not in {item.item_id for item in after.items}


def test_a_job_is_created_once_read_and_stopped(client):
    config = models().ExperimentConfig.from_dict({"federated": {"num_rounds": 3}})
    request = models().JobRequest(dataset="tiny", config=config)
    status, job = call("jobs.create_job", client=client, body=request, idempotency_key="once")
    assert (status, job.state, job.num_rounds) == (201, "queued", 3)
    assert call("jobs.create_job", client=client, body=request, idempotency_key="once")[1].id == job.id
    assert call("jobs.get_job", job.id, client=client)[1] == job
    status, stopped = call("jobs.stop_job", job.id, client=client)
    assert (status, stopped.state) == (202, "stopped")
    assert [one.id for one in call("jobs.list_jobs", client=client)[1].jobs] == [job.id, 1]
    _, metrics = call("jobs.get_job_metrics", 1, client=client, after_round=2)
    assert metrics.rounds[0].round_ == 3


def test_what_goes_wrong_is_a_problem_with_a_type_of_its_own(client, generated, address):
    problem = models().Problem
    status, found = call("jobs.get_job", 99, client=client)
    assert isinstance(found, problem)
    assert (status, found.status, found.title) == (404, 404, "Not Found")
    assert found.request_id
    assert call("jobs.stop_job", 1, client=client)[0] == 409
    status, found = call("recommendations.recommend", "u03", client=client, k=0)
    assert (status, found.detail.split(":")[0]) == (422, "k = '0'")
    with authenticated(generated, address, "another key") as stranger:
        status, found = call("jobs.stop_job", 1, client=stranger)
    assert isinstance(found, problem)
    assert status == 401


def test_the_document_asks_for_the_key_where_a_request_writes(address: str):
    document = httpx.get(f"{address}/openapi.json", timeout=PATIENCE).json()
    locked = {
        (method, path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if operation.get("security")
    }
    assert ("post", "/jobs") in locked
    assert ("get", "/recommend/{user_id}") not in locked
