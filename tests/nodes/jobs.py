"""A job over three nodes whose users are none of the installation's, and what it comes to."""

from pathlib import Path

import pandas as pd

from tests.end_to_end.products import Product
from tests.nodes.conftest import FIVE_ROUNDS
from tests.tiny import ITEMS, walks

JOB = {"engine": "flower", "flower": {"minimum_nodes": 3}, "federated": FIVE_ROUNDS, "evaluation": {"eval_every": 2}}


def written(path: Path, users: range) -> Path:
    """A file of some owner's users, who take what others do than those of the installation."""
    walked = walks(12, ITEMS, seed=7)
    rows = [(f"patient-{user}", f"m{item:02d}") for user in users for item in walked[user]]
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(path, index=False)
    return path


def outcome(product: Product, job_id: int) -> dict:
    """Without the bytes of answers, which say how long each took."""
    found = product.outcome(job_id)
    metrics = [row for row in found["rows"]["metrics"] if row[2] != "bytes_up_nodes"]
    return {**found, "rows": {**found["rows"], "metrics": metrics}}
