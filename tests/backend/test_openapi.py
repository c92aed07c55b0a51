"""The OpenAPI document, and that the application answers as it says."""

import contextlib
import json
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from backend.app import create_app
from backend.settings import Settings
from fedmem.contracts import Problem
from fedmem.serving import new_items
from tests.backend.conftest import copy_of, problem, running, settings_of
from tests.backend.test_items import Encoder

# Of every route and method; a few hundred in all for continuous integration, FEDMEM_SCHEMATHESIS=400 by hand.
KEY = "the-key"
CASES = int(os.environ.get("FEDMEM_SCHEMATHESIS", "10"))
# In characters, of up to twelve bytes each in a URL: the server does not read more than 64 KiB of it.
LONGEST_QUERY = 5000
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


def test_what_writes_asks_for_the_key_and_nothing_else_does(document):
    writing = {operation["operationId"] for _, _, operation in operations(document) if "security" in operation}
    assert writing == {
        "activate_model",
        "add_feedback",
        "create_job",
        "delete_user",
        "pause_job",
        "put_item",
        "resume_job",
        "stop_job",
    }
    for _, _, operation in operations(document):
        assert ("401" in operation["responses"]) is (operation["operationId"] in writing)


def test_parameters_are_described(document):
    for _, path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), (path, parameter["name"])


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_parameter_that_a_route_has_not_is_refused(client, method, path):
    address = path.format(job_id=1, user_id="u01", item_id="1", version="job-1-round-1", index=0)
    response = client.request(method, address, params={"limits": 3, "offsett": 1})
    assert "limits = '3': there is no such parameter" in problem(response, 422).detail


@pytest.fixture(scope="module")
def api(full_world, tmp_path_factory):
    """The document as schemathesis reads it, of an application that may be changed by what is asked of it."""
    world = copy_of(full_world, tmp_path_factory.mktemp("openapi"))
    app = create_app(settings_of(world, api_key=KEY))
    with pytest.MonkeyPatch.context() as patch, running(app) as (_, address):
        patch.setattr(new_items, "encoder_of", lambda name: Encoder())
        app.state.services.keeper.look()
        app.state.ending.set()  # or the events of a job that nobody trains would never end
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_it_answers_as_documented(api, method, path, mode):
    """No 5xx, no answer that is not in the document, and every error a problem."""
    cases = api[path][method].as_strategy(generation_mode=mode)

    @settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def answers(case: schemathesis.Case) -> None:
        assume(len(str(case.query)) < LONGEST_QUERY)
        response = case.call(headers={"X-API-Key": KEY})
        case.validate_response(response, excluded_checks=NOT_CHECKED)
        if response.status_code >= 400:
            assert response.headers["content-type"][0] == "application/problem+json"
            found = Problem.model_validate(json.loads(response.content))
            assert (found.status, found.request_id) == (response.status_code, response.headers["x-request-id"][0])

    with contextlib.suppress(Unsatisfiable):  # where nothing can be wrong in a request
        answers()
