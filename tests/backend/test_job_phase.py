"""What a running job does is told from its row: until the first round, in the rounds, and after the last one."""

import pytest

from fedmem.config_reader import validate_config
from fedmem.privacy.rounds_budget import checked_budget
from fedmem.storage.jobs import RoundResult

NEVER = 99


def phases(client, jobs, bests, **config):
    """What the API tells of a job before it begins, after that, and after each round, of which some are the best."""
    asked = client.post("/jobs", json={"dataset": "tiny", "config": config})
    assert asked.status_code == 201, asked.text
    number = asked.json()["id"]

    def told():
        return client.get(f"/jobs/{number}").json()["phase"]

    found = [told()]
    _, lease = jobs.claim("trainer", 600, 3)
    found.append(told())
    jobs.begin(lease, snapshot_digest="5f" * 32, last_interaction_id=1)
    jobs.commit_round(lease, RoundResult(0, False, None, {}))
    found.append(told())  # the snapshot has its name, and texts are encoded for it
    jobs.renew(lease, 600, 1, 4)
    found.append(told())
    for place, is_best in enumerate(bests, 1):
        jobs.commit_round(lease, RoundResult(place, is_best, f"{place:06d}", {"train": {}}))
        found.append(told())
    jobs.finish(lease, "succeeded")
    return [*found, told()]


def test_it_prepares_trains_and_tests(client, jobs):
    told = phases(client, jobs, [False, True, False], federated={"num_rounds": 3})
    assert told == [None, "preparing", "preparing", *["training"] * 3, "testing", None]


@pytest.mark.parametrize(("patience", "last"), [(1, "testing"), (2, "training")])
def test_patience_may_end_the_rounds(client, jobs, patience, last):
    federated = {"num_rounds": NEVER, "patience": patience}
    told = phases(client, jobs, [False, True, False, False], federated=federated, evaluation={"eval_every": 2})
    assert told == [None, "preparing", "preparing", *["training"] * 4, last, None]


def test_a_spent_budget_ends_the_rounds(client, jobs):
    config = {"privacy": {"weights_epsilon": 8, "weights_noise": 1.0}, "federated": {"num_rounds": NEVER}}
    paid = checked_budget(validate_config(config, "the test")).rounds
    assert 1 < paid < NEVER
    told = phases(client, jobs, [False] * paid, **config)
    assert told == [None, "preparing", "preparing", *["training"] * paid, "testing", None]
