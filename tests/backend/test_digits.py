"""Numbers of thousands of digits, and bodies nested as deep, are a problem of the request and no error of ours."""

import pytest

DIGITS = "9" * 5000  # more than Python makes a number of


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/feedback", f'{{"events": [{{"user_id": "u00", "item_id": "1", "timestamp": {DIGITS}}}]}}'),
        ("/feedback", f'{{"events": [{{"user_id": {DIGITS[:4000]}, "item_id": "1", "timestamp": 1}}]}}'),
        ("/recommend", f'{{"history": [], "k": {DIGITS}}}'),
        ("/recommend", "[" * 100_000),
        ("/jobs", f'{{"dataset": "tiny", "config": {{"seed": {DIGITS}}}}}'),
        ("/jobs", f'{{"dataset": "tiny", "config": {{"seed": {DIGITS[:4000]}}}}}'),
        ("/jobs", f'{{"dataset": "tiny", "config": {{"data": {{"max_history": {DIGITS[:400]}}}}}}}'),
    ],
)
def test_in_a_body(served, path, body):
    response = served.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"
    assert len(response.text) < 1000


def test_in_a_query_and_in_a_path(served):
    for response in (served.get("/recommend/u00", params={"k": DIGITS}), served.get(f"/jobs/{DIGITS}")):
        assert response.status_code == 422
        assert len(response.text) < 1000
