import builtins
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fedmem.data.interactions import Item
from fedmem.errors import FeatureError
from fedmem.features.cache import Cache
from fedmem.features.preference_endpoint import MOST_ITEMS, EndpointWriter, preference_writer
from fedmem.features.preference_texts import template_text

pytest.importorskip("openai", reason="the extra `llm` is not installed")

HISTORIES = [[Item(str(n), f"Film{n}", ("Drama",), 1990, text=f"Film{n} (1990). Drama")] for n in range(6)]


class Endpoint:
    """A local server that speaks /v1/chat/completions and can be told to fail from some request on."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.answer: str | None = "Likes quiet dramas."
        self.fails_from = 1000
        self.failures = 0
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path != "/v1/chat/completions":
                    return self.reply(404, {})
                if len(endpoint.requests) >= endpoint.fails_from:
                    endpoint.failures += 1
                    return self.reply(500, {"error": {"message": "out of order"}})
                endpoint.requests.append(body)
                endpoint.keys.append(self.headers["Authorization"])
                message = {"role": "assistant", "content": endpoint.answer}
                choice = {"index": 0, "finish_reason": "stop", "message": message}
                head = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}
                return self.reply(200, head | {"choices": [choice]})

            def reply(self, status: int, body: dict[str, Any]) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    served = Endpoint()
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


@pytest.fixture
def writer(endpoint: Endpoint, tmp_path: Path) -> Iterator[EndpointWriter]:
    made = EndpointWriter(endpoint.base_url, "tiny", Cache(tmp_path), api_key="sk-secret", max_retries=1)
    yield made
    made.close()


def test_the_endpoint_writes_from_the_history(endpoint: Endpoint, writer: EndpointWriter) -> None:
    assert writer(HISTORIES[0]) == "Likes quiet dramas."
    assert endpoint.requests[0]["model"] == "tiny"
    assert endpoint.requests[0]["messages"][1] == {"role": "user", "content": "Film0 (1990). Drama"}
    assert endpoint.keys == ["Bearer sk-secret"]
    assert writer.rejected == 0


def test_an_interrupted_run_resumes_without_asking_twice(
    endpoint: Endpoint, writer: EndpointWriter, tmp_path: Path
) -> None:
    endpoint.fails_from = 3
    with pytest.raises(FeatureError, match=r"features\.preference_source=template") as caught:
        [writer(history) for history in HISTORIES]
    assert "sk-secret" not in str(caught.value)
    assert len(endpoint.requests) == 3
    assert endpoint.failures == 2, "one try and one retry"
    endpoint.fails_from = 1000
    resumed = EndpointWriter(endpoint.base_url, "tiny", Cache(tmp_path), max_retries=0)
    assert [resumed(history) for history in HISTORIES] == ["Likes quiet dramas."] * 6
    assert [request["messages"][1]["content"][:5] for request in endpoint.requests] == [f"Film{n}" for n in range(6)]
    assert [resumed(history) for history in HISTORIES] == ["Likes quiet dramas."] * 6
    assert len(endpoint.requests) == 6
    resumed.close()


@pytest.mark.parametrize("answer", ["Loves FILM1 and the like.", "", None])
def test_an_answer_that_names_a_title_or_is_empty_is_replaced(
    endpoint: Endpoint, writer: EndpointWriter, answer: str | None
) -> None:
    endpoint.answer = answer
    assert writer(HISTORIES[1]) == template_text(HISTORIES[1]) == "Drama. From the 1990s."
    assert writer(HISTORIES[1]) == template_text(HISTORIES[1])
    assert writer.rejected == 2
    assert len(endpoint.requests) == 1, "a rejected answer is not asked for again"


def test_a_title_beyond_the_told_items_is_rejected_too(endpoint: Endpoint, writer: EndpointWriter) -> None:
    history = [Item(str(n), f"Film{n}", ("Drama",), text=f"Film{n}") for n in range(MOST_ITEMS + 10)]
    endpoint.answer = "Likes Film3."
    assert writer(history) == "Drama."
    assert endpoint.requests[0]["messages"][1]["content"].startswith("Film10\n")


def test_nothing_is_asked_for_an_empty_history(endpoint: Endpoint, writer: EndpointWriter) -> None:
    assert writer([]) == ""
    assert writer([Item("1")]) == ""
    assert endpoint.requests == []


def test_the_key_is_not_shown(writer: EndpointWriter) -> None:
    assert "sk-secret" not in repr(writer)


def test_the_environment_describes_the_endpoint(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FEDMEM_LLM_BASE_URL", endpoint.base_url)
    monkeypatch.setenv("FEDMEM_LLM_MODEL", "from-environment")
    monkeypatch.setenv("FEDMEM_LLM_API_KEY", "sk-environment")
    made = preference_writer("endpoint", Cache(tmp_path))
    assert made(HISTORIES[0]) == "Likes quiet dramas."
    assert endpoint.requests[0]["model"] == "from-environment"
    assert endpoint.keys == ["Bearer sk-environment"]
    assert isinstance(made, EndpointWriter)
    made.close()


@pytest.mark.parametrize("missing", ["FEDMEM_LLM_BASE_URL", "FEDMEM_LLM_MODEL"])
def test_an_endpoint_that_is_not_described(missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDMEM_LLM_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("FEDMEM_LLM_MODEL", "m")
    monkeypatch.delenv(missing)
    with pytest.raises(FeatureError, match=missing):
        preference_writer("endpoint", Cache(tmp_path))


def test_the_template_needs_no_endpoint(tmp_path: Path) -> None:
    assert preference_writer("template", Cache(tmp_path)) is template_text


def test_without_the_openai_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain_import = builtins.__import__

    def without_openai(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "openai":
            raise ImportError(name)
        return plain_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_openai)
    with pytest.raises(FeatureError, match=r"fedmem\[llm\]"):
        preference_writer("endpoint", Cache(tmp_path))
