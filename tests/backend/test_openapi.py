"""The OpenAPI document, and that the application answers as it says."""

import contextlib
import copy
import json
import logging
import os

import anyio
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.testclient import TestClient

from backend import dependencies
from backend.app import create_app
from backend.settings import Settings
from fedmem import contracts
from fedmem.contracts import Problem
from fedmem.logs import JsonLines
from fedmem.serving import new_items
from tests.backend.conftest import copy_of, problem, running, settings_of
from tests.backend.test_items import Encoder
from tests.waiting import PATIENCE

# Of every route and method; a few hundred in all for continuous integration, FEDMEM_SCHEMATHESIS=400 by hand.
KEY = "a-key-that-no-log-may-hold"
CASES = int(os.environ.get("FEDMEM_SCHEMATHESIS", "5"))
# The server reads 64 KiB of a request's head; of one that is longer it depends on how it arrives whether it is read.
LONGEST_ADDRESS = 60_000
# Only to notice a server that hangs: the client's own limit of 10 s may run out on a machine that has a lot to do.
# Not all that fits a schema is accepted: a genre must be one of the catalogue's. Nor is all that does not fit refused:
# true is 1.
NOT_CHECKED = [positive_data_acceptance, negative_data_rejection]


def operations(document):
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


ROUTES = [(method.upper(), path) for method, path, _ in operations(create_app(Settings(_env_file=None)).openapi())]


@pytest.fixture(scope="module")
def document(empty_world):
    return create_app(settings_of(empty_world)).openapi()


def test_every_route_has_a_name_of_its_own_a_tag_and_a_summary(document):
    found = operations(document)
    assert len({operation["operationId"] for _, _, operation in found}) == len(found) >= 29
    tags = {tag["name"] for tag in document["tags"]}
    for _, path, operation in found:
        assert set(operation["tags"]) <= tags, path
        assert operation["summary"], path
        assert operation["description"], path


def test_every_problem_is_problem_json(document):
    for _, path, operation in operations(document):
        for status, response in operation["responses"].items():
            if status >= "400":
                schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
                assert response["content"] == {"application/problem+json": schema}, (path, status)


def test_what_writes_or_names_users_asks_for_the_key(document):
    locked = {operation["operationId"] for _, _, operation in operations(document) if "security" in operation}
    assert locked == {
        "activate_model",
        "add_feedback",
        "change_availability",
        "create_job",
        "create_schedule",
        "delete_job",
        "delete_schedule",
        "delete_item",
        "delete_upload",
        "delete_user",
        "evaluate_online",
        "get_ab_test",
        "get_upload",
        "get_user_history",
        "import_upload",
        "list_ab_tests",
        "list_uploads",
        "list_users",
        "pause_job",
        "preview_upload",
        "put_item",
        "readmit_user",
        "resume_job",
        "roll_back",
        "run_schedule",
        "start_ab_test",
        "stop_ab_test",
        "stop_job",
        "update_schedule",
        "upload_file",
    }
    for _, _, operation in operations(document):
        assert {"401", "403"} < operation["responses"].keys()


def test_parameters_are_described(document):
    for _, path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), (path, parameter["name"])


def has_example(schema) -> bool:
    """Whether a reader sees what a value looks like: by an example, by the default, or because there is no choice."""
    if schema.keys() & {"examples", "$ref", "enum", "const"} or schema.get("type") == "boolean":
        return True
    if schema.get("default") is not None:
        return True
    if "anyOf" in schema:
        return all(has_example(one) for one in schema["anyOf"] if one != {"type": "null"})
    return "items" in schema and has_example(schema["items"])


def test_what_is_sent_has_an_example(document):
    """The configuration shows itself by its defaults."""
    for name in set(contracts.__all__) & document["components"]["schemas"].keys():
        for field, schema in document["components"]["schemas"][name].get("properties", {}).items():
            assert has_example(schema), (name, field)
    for _, path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert not parameter["required"] or has_example(parameter["schema"]), (path, parameter["name"])


@pytest.fixture(scope="module")
def client(empty_world, tmp_path_factory):
    """An application of which no test changes anything."""
    with TestClient(create_app(settings_of(copy_of(empty_world, tmp_path_factory.mktemp("openapi"))))) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_parameter_that_a_route_has_not_is_refused(client, method, path):
    address = path.format(
        job_id=1,
        user_id="u01",
        item_id="1",
        version="job-1-round-1",
        index=0,
        name="ladder",
        schedule_id=1,
        test_id=1,
        upload_id="0" * 32,
    )
    response = client.request(method, address, params={"limits": 3, "offsett": 1})
    assert "limits = '3': there is no such parameter" in problem(response, 422).detail


@pytest.fixture(scope="module")
def lines():
    """Every line that the application and its server log, as they would be written."""
    said = []

    class Kept(logging.Handler):
        def emit(self, record):
            said.append(self.format(record))

    handler, root = Kept(logging.DEBUG), logging.getLogger()
    handler.setFormatter(JsonLines("backend"))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield said
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture(scope="module")
def configurations(api):
    """The same document, by which every job is of data that are there and says every section of its configuration."""
    changed = copy.deepcopy(api.raw_schema)
    schemas = changed["components"]["schemas"]
    schemas["JobRequest"]["required"] = ["dataset", "config"]
    schemas["JobRequest"]["properties"]["dataset"] = {"enum": ["tiny"]}
    schemas["JobRequest"]["properties"]["config"] = {"$ref": "#/components/schemas/ExperimentConfig"}
    schemas["ExperimentConfig"]["required"] = list(schemas["ExperimentConfig"]["properties"])
    return schemathesis.openapi.from_dict(changed)


@pytest.fixture(scope="module")
def api(full_world, lines, tmp_path_factory):
    """The document as schemathesis reads it, of an application that may be changed by what is asked of it."""
    world = copy_of(full_world, tmp_path_factory.mktemp("openapi"))
    app = create_app(settings_of(world, api_key=KEY))
    with pytest.MonkeyPatch.context() as patch, running(app) as (_, address):
        patch.setattr(new_items, "encoder_of", lambda name: Encoder())
        app.state.services.keeper.look()
        ended = anyio.Event()
        ended.set()  # for events alone: those of a job that no trainer takes would never end
        app.dependency_overrides[dependencies._ending] = lambda: ended
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")
    # A request's line is written when its answer has been sent: now the last one, too.
    assert any('"logger": "backend.access"' in line for line in lines)
    assert with_key(lines) == []


def with_key(lines: list[str]) -> list[str]:
    return [line for line in lines if KEY in line]


def address_of(case: schemathesis.Case) -> str:
    """As the client sends it."""
    request = case.as_transport_kwargs()
    return str(requests.Request(request["method"], request["url"], params=request.get("params")).prepare().url)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_it_answers_as_documented(api, lines, method, path, mode):
    """No 5xx, no answer that is not in the document, every error a problem, and no log line with the key."""
    cases = api[path][method].as_strategy(generation_mode=mode)

    @settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def answers(case: schemathesis.Case) -> None:
        assume(len(address_of(case)) < LONGEST_ADDRESS)
        response = case.call(headers={"X-API-Key": KEY}, timeout=PATIENCE)
        case.validate_response(response, excluded_checks=NOT_CHECKED)
        if response.status_code >= 400:
            assert response.headers["content-type"][0] == "application/problem+json"
            found = Problem.model_validate(json.loads(response.content))
            assert (found.status, found.request_id) == (response.status_code, response.headers["x-request-id"][0])

    # Nothing can be wrong in a request without parameters.
    with contextlib.suppress(Unsatisfiable) if mode == GenerationMode.NEGATIVE else contextlib.nullcontext():
        answers()
    assert with_key(lines) == []


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_a_configuration_is_taken_or_refused(api, configurations, mode):
    """No 5xx, whatever its values; the list of jobs shows what was taken."""
    address = api.location.removesuffix("/openapi.json")

    @settings(max_examples=4 * CASES, suppress_health_check=list(HealthCheck))
    @given(case=configurations["/jobs"]["POST"].as_strategy(generation_mode=mode))
    def answers(case: schemathesis.Case) -> None:
        response = case.call(base_url=address, headers={"X-API-Key": KEY}, timeout=PATIENCE)
        assert response.status_code < 500, response.content

    answers()
    assert requests.get(f"{address}/jobs?limit=500", timeout=PATIENCE).status_code == 200
