"""The benchmarks over HTTP at tiny sizes: real processes, every figure comes out. Nothing asserts a time."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import numpy as np
import pytest

from benchmarks import load, load_generator, serve_http
from benchmarks import product as products
from benchmarks.drawn import checkpoint_of, snapshot_of
from benchmarks.drawn_models import interactions_of
from benchmarks.load_generator import Connection, Generator, Load, Request
from benchmarks.product import BenchmarkError, product
from fedmem.data.demo import write_demo
from fedmem.serving import Recommender

TINY = serve_http.Sizes(
    items=250,
    turns=1,
    per_turn=3,
    rate=20.0,
    seconds=0.5,
    training_turns=2,
    swapping_turns=2,
    swaps_per_turn=4,
    swap_seconds=0.1,
)


@pytest.fixture(scope="module", autouse=True)
def _small_demo() -> Iterator[None]:
    """A demo whose features need no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "write_demo", partial(write_demo, num_users=60, num_items=40))
        patch.setattr(products, "ENDLESS", products.ENDLESS | {"features": {"text": "off", "image": "off"}})
        yield


@pytest.fixture(scope="module")
def record() -> dict[str, float]:
    return serve_http.serve_http(TINY)


def test_every_figure_comes_out(record):
    assert all(record[name] > 0 for name in serve_http.GOALS if name != "r9_errors")
    assert serve_http.GOALS.keys() == serve_http.WHAT.keys()
    assert json.loads(json.dumps(record)) == record


def test_swaps_were_made_and_a_job_has_trained_meanwhile(record):
    assert (record["r9_swaps"], record["r9_errors"]) == (8, 0)
    assert record["r6_rounds"] > 0
    assert record["r6_requests"] > 10


def test_an_even_load_on_the_whole_product():
    record = load.load(rate=20.0, seconds=1.0, warm_up=0.5)
    assert record["requests"] == pytest.approx(20, abs=2)
    assert (record["errors"], record["errors_by_reason"]) == (0, {})
    assert record["rounds_trained"] > 0
    assert 0 < record["p50_ms"] <= record["p99_ms"]
    assert json.loads(json.dumps(record)) == record


def test_a_service_that_ends_is_named_with_its_last_words():
    with product() as made:
        service = made.start("benchmarks.no_such_module")
        with pytest.raises(BenchmarkError, match=r"no_such_module has ended with exit code 1: .*No module named"):
            made.wait(lambda: False, "nothing")
        assert service.process.poll() == 1


def test_the_models_measured_answer_from_their_memories():
    snapshot = snapshot_of(250, 3)
    recommender = Recommender.of(snapshot, checkpoint_of(snapshot, round=1), "drawn")
    answer = recommender.recommend("2", 10)
    assert (answer.strategy, len(answer.items), answer.round) == ("model", 10, 1)
    assert answer.items[0].item.title.startswith("The Return of Film")
    interactions = interactions_of(snapshot.dataset)
    own = interactions.items[interactions.users == "1"]
    assert own.tolist() == [snapshot.dataset.vocabulary.items[i - 1] for i in snapshot.dataset.history(1)]


# The generator


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[int]:
    """A server that gives these answers in turn, and its port."""
    following = itertools.cycle(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(next(following))
        except (EOFError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


def asks() -> Iterator[Request]:
    return itertools.repeat(Request("GET", "/"))


async def loaded(rate: float, seconds: float, *answers: bytes) -> Load:
    async with answering(*answers) as port:
        generator = Generator(port, asks(), rate)
        found = await generator.run_for(seconds)
        generator.close()
        await asyncio.sleep(0.05)
        return found


def test_answers_are_read_whole_and_counted_by_status():
    found = asyncio.run(loaded(100, 0.2, OK, BUSY))
    assert len(found.seconds) == pytest.approx(10, abs=2)
    assert found.wrong.keys() == {"503"}
    assert found.wrong["503"] == pytest.approx(10, abs=2)


def test_an_answer_that_is_not_whole_is_an_error(monkeypatch):
    monkeypatch.setattr(load_generator, "TIMEOUT", 0.3)
    found = asyncio.run(loaded(50, 0.1, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", b"no http at all\r\n\r\n"))
    assert not found.seconds
    assert found.wrong.total() >= 2


def test_requests_go_out_although_earlier_ones_are_not_answered(monkeypatch):
    monkeypatch.setattr(load_generator, "TIMEOUT", 0.3)
    found = asyncio.run(loaded(50, 0.2, b""))
    assert found.wrong == Counter({"TimeoutError": found.wrong.total()})
    assert found.wrong.total() == pytest.approx(10, abs=2)


async def asked(answer: bytes, request: Request) -> tuple[int, bytes]:
    async with answering(answer) as port:
        connection = await Connection.opened(port)
        found = await connection.ask(request)
        connection.close()
        await asyncio.sleep(0.05)
        return found


def test_a_connection_reads_status_and_body():
    assert asyncio.run(asked(OK, Request("POST", "/x", b"{}"))) == (200, b"ok")


def test_percentiles_are_of_what_was_answered():
    side, idle = Load([0.004] * 99 + [0.02]), Load([0.002] * 100)
    found = serve_http.percentiles("r6", side, idle)
    assert found["r6"] == pytest.approx(1000 * float(np.percentile(side.seconds, 99)) / 2)
    assert found["r6_idle_p50_ms"] == pytest.approx(2)
    with pytest.raises(BenchmarkError, match="503"):
        serve_http.refuse_errors(idle, Load(wrong=Counter({"503": 1})))


def test_the_mix_asks_mostly_for_known_users():
    requests = list(itertools.islice(load.mixed(["u1", "u2"], [str(i) for i in range(30)], "/jobs/7"), 2000))
    paths = Counter((r.method, r.path.partition("?")[0].partition("/u")[0]) for r in requests)
    assert paths["GET", "/recommend"] == pytest.approx(1800, abs=60)
    assert paths["POST", "/recommend"] == pytest.approx(160, abs=40)
    assert paths["GET", "/jobs/7"] == pytest.approx(40, abs=20)
    history = json.loads(next(r.body for r in requests if r.body))["history"]
    assert len(history) == len(set(history)) == 20
