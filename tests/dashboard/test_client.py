"""The typed client: contracts come back, and every trouble is one sentence."""

import json

import httpx
import pytest

from dashboard.client import ApiClient
from dashboard.transport import BackendAwayError, BackendError, RefusedError
from fedmem.contracts import JobRequest, Live, Problem


def client_that(answer, key=None):
    return ApiClient("http://backend", key, httpx.MockTransport(answer))


def test_an_answer_is_a_contract():
    assert client_that(lambda request: httpx.Response(200, json={"status": "live"})).live() == Live()


def test_the_key_goes_along_and_the_idempotency_key_too():
    seen = []

    def answer(request):
        seen.append(request)
        return httpx.Response(409, json=Problem(title="Conflict", status=409, detail="no").model_dump())

    with pytest.raises(RefusedError, match=r"^no$") as caught:
        client_that(answer, "secret").create_job(JobRequest(dataset="demo"), "once")
    assert caught.value.status == 409
    assert seen[0].headers["X-API-Key"] == "secret"
    assert seen[0].headers["Idempotency-Key"] == "once"
    assert json.loads(seen[0].content) == {"dataset": "demo"}


def test_an_id_cannot_leave_its_place_in_the_path():
    seen = []

    def answer(request):
        seen.append(request.url.raw_path)
        return httpx.Response(404, json={})

    assert client_that(answer).picture("a/../b?c") is None
    assert seen == [b"/items/a%2F..%2Fb%3Fc/image"]


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow")])
def test_a_backend_that_is_away_is_one_error(error):
    def answer(request):
        raise error

    with pytest.raises(BackendAwayError, match="http://backend"):
        client_that(answer).jobs()


def test_an_answer_of_another_version_is_told():
    with pytest.raises(BackendError, match="same version"):
        client_that(lambda request: httpx.Response(200, json={"new": 1})).live()


@pytest.mark.parametrize(("status", "passes"), [(404, False), (409, False), (429, True), (500, True), (503, True)])
def test_some_troubles_pass(status, passes):
    with pytest.raises(RefusedError) as caught:
        client_that(lambda request: httpx.Response(status)).jobs()
    assert caught.value.passes is passes


def test_a_refusal_that_is_no_problem_document_still_says_its_status():
    with pytest.raises(RefusedError, match="502"):
        client_that(lambda request: httpx.Response(502, text="<html>")).live()
