"""A/B tests on both databases: what their users did is counted by users."""

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
