"""A program: ask a drawn model for films of a century by every route, and say as JSON which years come."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from starlette.testclient import TestClient

from backend.app import create_app
from backend.served_model import ServedModel
from backend.settings import Settings
from tests.serving.builders import drawn_recommender


def answers(client: TestClient, year: int) -> Iterator[tuple[str, Any]]:
    """One answer by each route that takes a selection."""
    field = {"k": 3, "century": year}
    first = client.get("/recommend/3", params=field)
    yield "known", first.json()
    yield "next", client.get(first.json()["next"]).json()
    yield "history", client.post("/recommend", json={"history": ["3", "8"], **field}).json()
    batch = client.post("/recommend/batch", json={"requests": [{"user_id": "3", **field}]})
    yield "batch", batch.json()["answers"][0]
    both = client.get("/recommend/3", params={"k": 30, "category": "Comedy", "century": year})
    yield "with a category", both.json()
    yield "refused", client.get("/recommend/3", params={"century": "soon"}).json()


if __name__ == "__main__":
    client = TestClient(create_app(Settings(), ServedModel.of_run(drawn_recommender())), base_url="http://localhost")
    found = {
        name: [item["year"] for item in answer["items"]] if "items" in answer else answer["detail"]
        for name, answer in answers(client, int(sys.argv[1]))
    }
    sys.stdout.write(json.dumps(found))
