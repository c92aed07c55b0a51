"""Recommendations over HTTP, against the recommender and against brute force."""

import asyncio
import contextlib
import json
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from backend import cancellable
from backend.app import create_app
from backend.first_model import first_model_hint
from fedmem.contracts import BatchResponse, RecommendationResponse
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.serving.user_contexts import UserContexts
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.jobs import JobStore, RoundResult
from tests.backend.conftest import GENRES, ITEMS, copy_of, dataset, problem, running, settings_of, wait_for_model
from tests.waiting import PATIENCE, until

USERS = [f"u{number:02d}" for number in range(12)]
IDS = [str(number) for number in range(1, ITEMS + 1)]


@pytest.fixture(scope="module")
def shared(full_world, tmp_path_factory):
    """One application for tests that change nothing."""
    world = copy_of(full_world, tmp_path_factory.mktemp("shared"))
    with TestClient(create_app(settings_of(world, max_k=50, max_batch=8))) as client:
        wait_for_model(client)
        yield client


def answer(response) -> RecommendationResponse:
    assert response.status_code == 200, response.text
    return RecommendationResponse.model_validate(response.json())


def ids(found: RecommendationResponse) -> list[str]:
    return [item.item_id for item in found.items]


def test_an_answer_says_where_it_comes_from(shared, recommender):
    found = answer(shared.get("/recommend/u03", params={"k": 4}))
    expected = recommender.recommend("u03", 4)
    assert ids(found) == [scored.item.item_id for scored in expected.items]
    assert [item.score for item in found.items] == [scored.score for scored in expected.items]
    assert (found.user_id, found.strategy) == ("u03", "model")
    assert (found.model_version, found.round) == (recommender.model_version, recommender.round)
    assert found.items[0].title.startswith("Film ")


def test_an_unknown_user_is_answered_or_not(shared):
    found = answer(shared.get("/recommend/no such user"))
    assert (found.user_id, found.strategy, len(found.items)) == ("no such user", "popularity", 10)
    assert "stranger" in problem(shared.get("/recommend/stranger", params={"strict": True}), 404).detail
    assert answer(shared.get("/recommend/u01", params={"strict": True})).strategy == "model"


@pytest.mark.parametrize("user_id", ["a/b", "ü %+&?#", ".-_~", "x" * 512])
def test_ids_may_hold_anything_printable(shared, user_id):
    assert answer(shared.get(f"/recommend/{quote(user_id, safe='')}")).user_id == user_id


@pytest.mark.parametrize(
    ("query", "start"),
    [
        ({"k": 0}, "k = '0'"),
        ({"k": 1001}, "k = '1001'"),
        ({"k": 51}, "k = 51 is more than FEDMEM_MAX_K = 50"),
        ({"k": "many"}, "k = 'many'"),
        ({"offset": -1}, "offset = '-1'"),
        (
            {"category": "Comdy"},
            "category = 'Comdy': no item that can be recommended has this genre (did you mean 'Comedy'?)",
        ),
        ({"exclude": ""}, "exclude.0 = "),
        ({"kk": 3}, "kk = '3': there is no such parameter (did you mean 'k'?)"),
        ({"page": 2}, "page = '2': there is no such parameter; there are: category, dataset, exclude, explain, "),
    ],
)
def test_a_wrong_parameter_is_named(shared, query, start):
    assert problem(shared.get("/recommend/u01", params=query), 422).detail.startswith(start)


@pytest.mark.parametrize("user_id", ["a%00b", ""])
def test_an_id_that_is_none(shared, user_id):
    problem(shared.get(f"/recommend/{user_id}"), 422)


@pytest.mark.parametrize("user_id", ["%0A", "a%09b%0A", "x" * 4000])
def test_an_id_that_may_be_stored_since_before_there_was_a_rule(shared, user_id):
    assert shared.get(f"/recommend/{user_id}").status_code == 200


def test_a_version_that_is_not_in_memory(shared):
    detail = problem(shared.get("/recommend/u01", params={"model": "job-9-round-9"}), 404).detail
    assert "job-9-round-9" in detail
    assert "job-1-round-" in detail


DATA = dataset()


def asked_of(client, dataset: str):
    """Everything that a model answers, for a data set."""
    query, history = {"dataset": dataset}, {"history": ["3", "5"]}
    return (
        client.get("/recommend/u01", params=query),
        client.post("/recommend", params=query, json=history),
        client.post("/recommend/batch", params=query, json={"requests": [history]}),
        client.get("/items/7/similar", params=query),
    )


def test_an_answer_names_its_data_set_and_is_not_given_for_another(shared):
    for response in asked_of(shared, "tiny"):
        assert response.status_code == 200
        (found,) = response.json().get("answers", [response.json()])
        assert found["dataset"] == "tiny"
    for response in asked_of(shared, "other"):
        detail = problem(response, 503).detail
        assert "no model of a data set 'other' is in service (there are models of tiny): queue a training" in detail


def brute_force(recommender, user, category, exclude, include_seen, memory) -> list[tuple[str, float]]:
    """All items that may be recommended to a user, from the scores that evaluation ranks by."""
    index = DATA.vocabulary.find_user(user)
    history = DATA.history(index) if index is not None else np.zeros(0, np.int32)
    context = recommender.context(index, history) if index is not None else recommender.contexts.of_history(history)
    scorer = recommender.scorer if memory else ModelScorer(recommender.scorer.model, None, recommender.scorer.table)
    scores = scorer.score([context if memory else UserContext()], [history])[0]
    allowed = [
        number
        for number in range(1, ITEMS + 1)
        if (include_seen or number not in history.tolist())
        and str(number) not in exclude
        and (category is None or category in GENRES[number % 4])
    ]
    order = sorted(allowed, key=lambda number: (-scores[number], number))
    return [(str(number), float(scores[number])) for number in order]


# Item index and item id are the same order here only where ids sort as numbers do.
parameters = st.fixed_dictionaries(
    {
        "k": st.integers(1, 40),
        "category": st.sampled_from([None, "Comedy", "Drama"]),
        "exclude": st.lists(st.sampled_from([*IDS, "no such item"]), max_size=8),
        "include_seen": st.booleans(),
        "memory": st.booleans(),
    }
)


@given(user=st.sampled_from([*USERS, "stranger"]), asked=parameters)
def test_pages_together_are_what_brute_force_finds(shared, recommender, user, asked):
    """Seen items hidden, exclusions and categories kept, pages disjoint, in order, from one version, to the end."""
    expected = brute_force(recommender, user, **{name: value for name, value in asked.items() if name != "k"})
    query = {name: value for name, value in asked.items() if value is not None}
    found, path = [], shared.build_request("GET", f"/recommend/{user}", params=query).url.raw_path.decode()
    while path:
        page = answer(shared.get(path))
        assert len(page.items) <= asked["k"]
        assert page.offset == len(found)
        assert page.model_version == recommender.model_version
        assert (page.strategy == "no_memory") is not asked["memory"]
        found += [(item.item_id, item.score) for item in page.items]
        path = page.next
    assert sorted(item for item, _ in found) == sorted(item for item, _ in expected)
    np.testing.assert_allclose([s for _, s in found], [s for _, s in expected], rtol=1e-5, atol=1e-5)
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)


@given(questions=st.lists(st.tuples(st.sampled_from([None, *USERS, "stranger"]), parameters), min_size=1, max_size=8))
def test_a_batch_is_its_questions_one_by_one(shared, questions):
    requests = [
        {**asked, **({"history": ["3", "4", "5"]} if user is None else {"user_id": user})} for user, asked in questions
    ]
    response = shared.post("/recommend/batch", json={"requests": requests})
    assert response.status_code == 200, response.text
    for (user, asked), found in zip(questions, BatchResponse.model_validate(response.json()).answers, strict=True):
        if user is None:
            single = answer(shared.post("/recommend", json={**asked, "history": ["3", "4", "5"]}))
        else:
            query = {name: value for name, value in asked.items() if value is not None}
            single = answer(shared.get(f"/recommend/{user}", params=query))
        assert found == single.model_copy(update={"recommendation_id": found.recommendation_id})
        assert (found.recommendation_id is None) == (user is None)
        assert user is None or found.recommendation_id != single.recommendation_id


def test_a_batch_is_limited_by_what_it_makes(shared):
    """20 kB in, 26 MB out: a short request must not be a lot of work."""
    refused = shared.post("/recommend/batch", json={"requests": [{"k": 50}, {"k": 1, "offset": 9_950}]})
    assert "10001 items; that is more than FEDMEM_MAX_BATCH_ITEMS = 10000" in problem(refused, 422).detail
    assert shared.post("/recommend/batch", json={"requests": [{"k": 50}, {"k": 1, "offset": 9_949}]}).is_success


def test_a_batch_is_limited_by_what_its_histories_make_the_model_read(shared):
    long = {"k": 50, "history": IDS[:20] * 200}
    refused = problem(shared.post("/recommend/batch", json={"requests": [long] * 2}), 422).detail
    assert refused.startswith("the answers would hold or skip 100 items, and reading the histories is as much work as")
    without_memory = [{**long, "memory": False}] * 2
    assert shared.post("/recommend/batch", json={"requests": without_memory}).is_success


LONG = IDS[:20] * 32
WORK = [
    ("/recommend", {"offset": 1000}),
    ("/recommend/batch", {"requests": [{"k": 1}] * 12}),
    ("/recommend", {"history": LONG}),
    ("/recommend/batch", {"requests": [{"history": LONG}]}),
]


@pytest.mark.parametrize("two", [WORK[:2], WORK[2:]])
def test_requests_are_counted_by_their_work(served_world, two):
    with TestClient(create_app(settings_of(served_world, rate_limit=20))) as client:
        wait_for_model(client)
        for path, body in two:
            assert client.post(path, json=body).is_success
        problem(client.get("/recommend/u03"), 429)


def test_who_waits_to_write_keeps_no_reader_waiting(served_world):
    """An import holds the database's one lock of writing; the threads that wait for it must not be all there are."""
    app = create_app(settings_of(served_world))
    body = {"events": [{"user_id": "u03", "item_id": "1", "timestamp": 1e9}]}
    limits = httpx.Limits(max_connections=None)
    with running(app) as (_, address), httpx.Client(base_url=address, timeout=PATIENCE, limits=limits) as client:
        lock = sqlite3.connect(served_world.database, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(60) as writers:
            waiting = [writers.submit(client.post, "/feedback?dataset=tiny", json=body) for _ in range(60)]
            until(lambda: app.state.writing.statistics().tasks_waiting == 52, "writers that wait")
            assert client.get("/items?dataset=tiny").is_success
            lock.execute("ROLLBACK")
            assert {one.result().status_code for one in waiting} == {200}
        lock.close()


def test_a_batch_has_its_limit(shared):
    requests = [{"user_id": "u01"}] * 9
    assert "FEDMEM_MAX_BATCH = 8" in problem(shared.post("/recommend/batch", json={"requests": requests}), 422).detail
    refused = problem(shared.post("/recommend/batch", json={"requests": []}), 422)
    assert refused.detail == "requests: give at least 1, not 0"


def test_an_empty_id_is_no_users(shared):
    assert problem(shared.get("/recommend/"), 422).detail == "user_id = '': must not be empty, and hold no U+0000"


@pytest.mark.parametrize("user", ["u03", "stranger"])
def test_the_parts_of_an_explanation_sum_to_the_score(shared, user):
    found = answer(shared.get(f"/recommend/{user}", params={"explain": True, "k": 5}))
    assert found.explanation is not None
    for item in found.items:
        parts = item.explanation
        assert sum(parts.summands().values()) == pytest.approx(item.score, abs=1e-5 * max(1, abs(item.score)))
    plain = answer(shared.get(f"/recommend/{user}", params={"k": 5}))
    assert ids(plain) == ids(found)
    assert plain.explanation is None


def test_a_history_of_ones_own_is_answered_and_its_unknown_items_named(shared):
    history = ["3", "no such item", "5", "7", "9", "12"]
    found = answer(shared.post("/recommend", json={"history": history, "k": 30, "exclude": ["1"]}))
    assert (found.user_id, found.unknown_items, found.next) == (None, ("no such item",), None)
    assert not {"1", *history} & set(ids(found))
    assert len(found.items) == ITEMS - 6


def test_without_memory_the_answer_says_so(shared, recommender):
    found = answer(shared.get("/recommend/u03", params={"memory": False, "k": 4, "explain": True}))
    assert (found.strategy, found.explanation.memory) == ("no_memory", ())
    assert found.next == f"/recommend/u03?k=4&offset=4&explain=true&memory=false&model={recommender.model_version}"
    history = [str(index) for index in DATA.history(DATA.vocabulary.find_user("u03"))]
    posted = answer(shared.post("/recommend", json={"history": history, "memory": False, "k": 4}))
    assert (posted.strategy, ids(posted)) == ("no_memory", ids(found))


def test_post_stores_nothing(served, served_world):
    import sqlite3
    from contextlib import closing

    def stored() -> list[str]:
        with closing(sqlite3.connect(served_world.database)) as connection:
            return list(connection.iterdump())

    before = stored()
    asked = {"requests": [{"user_id": "u01"}, {"history": ["3"]}]}
    assert served.post("/recommend", json={"history": ["3", "5"]}).status_code == 200
    assert served.post("/recommend/batch", json=asked).status_code == 200
    assert stored() == before
    event = {"user_id": "u01", "item_id": "3", "timestamp": 1}
    assert served.post("/feedback", json={"events": [event]}).status_code == 200
    assert stored() != before


@contextlib.contextmanager
def held(monkeypatch):
    """Replays that begin, and do not end before they are let."""
    begun, let, replay = threading.Event(), threading.Event(), UserContexts.replay
    calls = []

    def waiting(contexts, history, *texts):
        calls.append(len(history))
        begun.set()
        assert let.wait(PATIENCE)
        return replay(contexts, history, *texts)

    monkeypatch.setattr(UserContexts, "replay", waiting)
    try:
        yield begun, let, calls
    finally:
        let.set()


@pytest.mark.parametrize("explain", [False, True])
def test_while_a_history_is_replayed_others_are_answered(served_world, monkeypatch, explain):
    app = create_app(settings_of(served_world))
    with running(app) as (_, address), ThreadPoolExecutor() as threads:
        app.state.services.keeper.look()  # a model is checked with a replay
        events = [{"user_id": "newcomer", "item_id": raw, "timestamp": 1} for raw in IDS[:20]]
        with httpx.Client(base_url=address, timeout=PATIENCE) as client, held(monkeypatch) as (begun, let, calls):
            assert client.post("/feedback", json={"events": events}).status_code == 200
            later = threads.submit(httpx.get, f"{address}/recommend/newcomer?explain={explain}", timeout=PATIENCE)
            assert begun.wait(PATIENCE)
            assert client.get("/health/live").json() == {"status": "live"}
            assert client.get("/recommend/u01").json()["user_id"] == "u01"
            assert not later.done()
            let.set()
            found = answer(later.result())
            assert (found.strategy, calls) == ("model", [20])
            again = answer(client.get("/recommend/newcomer"))
            assert (ids(again), calls) == (ids(found), [20]), "the vector is kept"


def test_only_some_histories_are_replayed_at_once(served_world, monkeypatch):
    app = create_app(settings_of(served_world))
    with running(app) as (_, address), ThreadPoolExecutor(8) as threads:
        app.state.services.keeper.look()
        with held(monkeypatch) as (_, let, calls):
            asked = [
                threads.submit(httpx.post, f"{address}/recommend", json={"history": IDS[: 6 + n]}, timeout=PATIENCE)
                for n in range(5)
            ]
            waiting = app.state.computing.statistics
            until(lambda: waiting().tasks_waiting == 3 and len(calls) == 2, "two replays and three that wait")
            assert httpx.get(f"{address}/health/live").status_code == 200
            assert len(calls) == waiting().borrowed_tokens == 2
            let.set()
            assert {answer(one.result()).strategy for one in asked} == {"model"}


def test_batches_leave_a_thread_to_single_histories(served_world, monkeypatch):
    app = create_app(settings_of(served_world))
    with running(app) as (_, address), ThreadPoolExecutor(8) as threads:
        app.state.services.keeper.look()

        def post(path: str, length: int):
            one = {"history": IDS[:length]}
            body = {"requests": [one]} if path == "recommend/batch" else one
            return threads.submit(httpx.post, f"{address}/{path}", json=body, timeout=PATIENCE)

        with held(monkeypatch) as (_, let, calls):
            batches = [post("recommend/batch", 6 + n) for n in range(3)]
            until(lambda: app.state.batches.statistics().tasks_waiting == 2 and len(calls) == 1, "a batch begins")
            alone = post("recommend", 12)
            until(lambda: len(calls) == 2, "a single history beside it")
            let.set()
            assert answer(alone.result()).strategy == "model"
            assert all(one.result().is_success for one in batches)


def test_few_batches_of_one_address_wait_and_others_are_answered(served_world, monkeypatch):
    app = create_app(settings_of(served_world, trusted_proxies="127.0.0.1"))
    with running(app) as (_, address), ThreadPoolExecutor(8) as threads:
        app.state.services.keeper.look()

        def post(of: str) -> httpx.Response:
            body = {"requests": [{"history": IDS[:6]}]}
            return httpx.post(
                f"{address}/recommend/batch", json=body, headers={"X-Forwarded-For": of}, timeout=PATIENCE
            )

        with held(monkeypatch) as (_, let, calls):
            batches = [threads.submit(post, "10.0.0.1") for _ in range(4)]
            until(lambda: app.state.batches.statistics().tasks_waiting == 3 and len(calls) == 1, "three that wait")
            refused = post("10.0.0.1")
            assert "4 batches are answered or wait of your address" in problem(refused, 503).detail
            assert refused.headers["retry-after"] == "5"
            batches.append(threads.submit(post, "10.0.0.2"))
            until(lambda: app.state.batches.statistics().tasks_waiting == 4, "another address's beside them")
            let.set()
            assert all(one.result().is_success for one in batches)
        assert post("10.0.0.1").is_success


def batch_of(address: str, *, histories: int) -> httpx.Response:
    """What a caller is answered who asks for a batch of histories."""
    asked = {"requests": [{"history": IDS[: 6 + number]} for number in range(histories)]}
    return httpx.post(f"{address}/recommend/batch", json=asked, timeout=PATIENCE)


def test_a_service_that_stops_ends_batches_between_two_questions(served_world, monkeypatch):
    app = create_app(settings_of(served_world))
    with running(app) as (server, address), ThreadPoolExecutor() as threads, held(monkeypatch) as (begun, let, calls):
        let.set()  # a model is checked with a replay
        app.state.services.keeper.look()
        until(lambda: httpx.get(f"{address}/health/ready").is_success, "a model")
        calls.clear(), begun.clear(), let.clear()
        first = threads.submit(batch_of, address, histories=4)
        assert begun.wait(PATIENCE)
        second = threads.submit(batch_of, address, histories=4)
        until(lambda: app.state.batches.statistics().tasks_waiting == 1, "a batch waits")
        server.should_exit = True
        assert "is stopping" in problem(second.result(PATIENCE), 503).detail
        let.set()
        assert "is stopping" in problem(first.result(PATIENCE), 503).detail
        assert calls == [6]


def test_a_batch_ends_between_two_questions_where_its_caller_is_gone(served_world, monkeypatch):
    app, noticed, watch = create_app(settings_of(served_world)), threading.Event(), cancellable._watch

    async def watched(*arguments: Any) -> None:
        await watch(*arguments)
        noticed.set()

    monkeypatch.setattr(cancellable, "_watch", watched)
    with running(app) as (_, address), ThreadPoolExecutor() as threads:
        app.state.services.keeper.look()
        with held(monkeypatch) as (begun, let, calls):
            caller = HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE)
            asked = json.dumps({"requests": [{"history": IDS[: 6 + number]} for number in range(4)]})
            caller.request("POST", "/recommend/batch", asked, {"Content-Type": "application/json"})
            assert begun.wait(PATIENCE)
            caller.close()
            assert noticed.wait(PATIENCE)
            waiting = threads.submit(batch_of, address, histories=1)
            let.set()
            assert waiting.result(PATIENCE).is_success
            assert calls == [6, 6]


def test_similar_items(shared, recommender):
    response = shared.get("/items/7/similar", params={"k": 3})
    expected = recommender.similar("7", 3)
    assert [item["item_id"] for item in response.json()["items"]] == [near.item.item_id for near in expected.items]
    assert response.json()["item_id"] == "7"
    problem(shared.get("/items/nothing/similar"), 404)


def test_without_a_model_there_is_no_answer(client):
    for response in (client.get("/recommend/u01"), client.post("/recommend", json={}), client.get("/items/1/similar")):
        assert "POST /jobs" in problem(response, 503).detail
    assert "no model" in problem(client.get("/health/ready"), 503).detail


def test_without_any_data_an_import_is_what_comes_first(engine):
    catalogue = CatalogueStore(engine)
    for row in catalogue.datasets():
        catalogue.remove(row.name)
    assert (
        first_model_hint(JobStore(engine), catalogue)
        == "import data (fedmem data import PATH), then queue a training job"
    )


def test_without_a_model_the_job_that_will_bring_one_is_named(client, jobs):
    def expect(said: str) -> None:
        client.app.state.services.keeper.look()
        for path in ("/recommend/u01", "/health/ready"):
            assert said in problem(client.get(path), 503).detail

    jobs.create(kind="experiment", dataset="tiny", config={}, num_rounds=9)
    expect("queue a training job with POST /jobs")
    job, _ = jobs.create(kind="training", dataset="tiny", config={}, num_rounds=150)
    expect("job 2, of the data set 'tiny', is queued; its model answers when it has succeeded")
    jobs.stop(1)
    _, lease = jobs.claim("trainer", 60, 3)
    jobs.begin(lease, snapshot_digest="d", last_interaction_id=1)
    expect(
        "job 2, of the data set 'tiny', is at round 0 of 150: its data is read and its texts are encoded, which may "
        "take minutes (GET /jobs/2/logs); its model answers when it has succeeded"
    )
    jobs.commit_round(lease, RoundResult(1, True, "000001", {}))
    expect("job 2, of the data set 'tiny', is at round 1 of 150; its model answers when it has succeeded")
    jobs.pause(2)
    jobs.release(lease)
    expect("job 2, of the data set 'tiny', is paused at round 1 of 150; its model answers when it has succeeded")
    jobs.stop(job.id)
    expect("queue a training job with POST /jobs")


def test_no_answer_asks_the_database(served, monkeypatch):
    """A GET /recommend does no SQL at all."""
    app = served.app
    monkeypatch.setattr(app.state, "services", None)
    assert served.get("/recommend/u01").status_code == 200
    assert served.get("/recommend/stranger?explain=true").status_code == 200


def test_requests_at_once_do_not_mix(shared, recommender):
    """Each answer is its own user's."""

    async def all_at_once() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=shared.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await asyncio.gather(*(client.get(f"/recommend/{user}?k=5") for user in USERS * 4))

    for user, response in zip(USERS * 4, asyncio.run(all_at_once()), strict=True):
        expected = [scored.item.item_id for scored in recommender.recommend(user, 5).items]
        assert ids(answer(response)) == expected


def test_a_whole_number_is_an_id_in_a_history_too(served):
    as_texts = served.post("/recommend", json={"history": ["3", "5"], "exclude": ["7"]}).json()
    assert served.post("/recommend", json={"history": [3, 5], "exclude": [7]}).json() == as_texts
    for wrong in (True, 3.5, None, 2**53, 10**600):
        assert served.post("/recommend", json={"history": [wrong]}).status_code == 422
