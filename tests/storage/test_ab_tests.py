"""A/B tests on both databases: what their users did is counted by users."""

import pytest

from fedmem.storage.ab_tests import AbTestStore, ArmCounts
from fedmem.storage.impressions import HOUR, ImpressionStore, ShownList
from fedmem.storage.models import ModelStore
from tests.storage.builders import claim, queue, result


def model(store, activate):
    """A job with a model."""
    queue(store)
    lease = claim(store)
    store.begin(lease, snapshot_digest="digest", last_interaction_id=None)
    store.commit_round(lease, result(0))
    store.finish(lease, "succeeded", model_round=0, activate=activate)
    return f"job-{lease.job_id}-round-0"


def test_users_are_counted_once_and_another_activation_ends_it(engine, store, clock):
    control, treatment = model(store, True), model(store, False)
    tests = AbTestStore(engine, clock)
    test = tests.start(treatment, 0.5)
    assert (test.control, [one.id for one in tests.running()]) == (control, [test.id])
    shown = [
        ShownList("demo", f"{n}", user, version, "model", clock(), 1, ("a", "b"), test.id)
        for n, (user, version) in enumerate((("u", control), ("u", control), ("v", treatment)))
    ]
    ImpressionStore(engine, clock=clock).add(shown)
    assert tests.counts(test) == (ArmCounts(control, 0, 1), ArmCounts(treatment, 0, 1))
    clock.advance(25 * HOUR)
    assert tests.counts(test) == (ArmCounts(control, 1, 0), ArmCounts(treatment, 1, 0))
    ModelStore(engine, clock).activate(treatment, "by hand")
    assert (tests.running(), tests.get(test.id).ended_because) == ([], f"{treatment} went into service: by hand")


@pytest.mark.parametrize("how", ["stopped", "another activation", "rollback"])
def test_models_that_waited_for_a_test_say_that_it_has_ended(engine, store, clock, how):
    for _ in range(3):
        model(store, True)
    treatment, tests, models = model(store, False), AbTestStore(engine, clock), ModelStore(engine, clock)
    other = model(store, False)
    for _ in range(2):  # the second one's number is another
        test = tests.start(treatment, 0.5)
        waits = model(store, True)
        assert models.get(waits).held_back.startswith(f"A/B test {test.id} of ")
        if how == "stopped":
            tests.stop(test.id, "by hand")
        elif how == "rollback":
            models.roll_back("demo", "by hand")
        else:
            models.activate(other, "by hand")
            other = waits
        found = models.get(waits)
        assert found.held_back.startswith(
            f"A/B test {test.id} ran when its job ended, and has ended since: activate it"
        )
        assert store.get(found.job_id).held_back == found.held_back
    assert models.get(treatment).held_back is None
