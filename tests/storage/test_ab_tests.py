"""A/B tests on both databases: what their users did is counted by users."""

import pytest

from fedmem.errors import ConflictError
from fedmem.storage.ab_tests import AbTestStore, ArmCounts
from fedmem.storage.impressions import HOUR, ImpressionStore, ShownList
from fedmem.storage.model_origin import equal_to_active
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


def going_on(store, parent, snapshot, last, best, weight=0.5, short=1.0):
    """A job that goes on from another up to a round, of which one is its best; the model's version."""
    queue(store, start_from=parent, snapshot=snapshot)
    lease = claim(store)
    store.begin(lease, snapshot_digest="digest", last_interaction_id=None)
    if snapshot == "same":
        store.inherit(lease, parent)
        first = store.get(parent).round + 1
    else:
        store.commit_round(lease, result(0))
        first = store.get(parent).model_round
    for number in range(first, last + 1):
        metrics = {"train": {"transition_strength": weight, "transition_strength_up_to_1": short}}
        store.commit_round(lease, result(number, is_best=number == best, metrics=metrics))
    store.finish(lease, "succeeded", model_round=best, activate=False)
    return f"job-{lease.job_id}-round-{best}"


def test_two_names_of_one_round_are_no_test(engine, store, clock):
    queue(store)
    lease = claim(store)
    store.begin(lease, snapshot_digest="digest", last_interaction_id=None)
    for number in range(4):
        metrics = {"train": {"transition_strength": 0.5, "transition_strength_up_to_1": 1.0}}
        store.commit_round(lease, result(number, is_best=number == 2, metrics=metrics))
    store.finish(lease, "succeeded", model_round=2, activate=True)
    tests, control = AbTestStore(engine, clock), "job-1-round-2"
    copied, taken_up = going_on(store, 1, "same", 5, 2), going_on(store, 1, "newest", 4, 2)
    again = going_on(store, 3, "newest", 3, 2)
    for equal in (copied, taken_up, again):
        with pytest.raises(
            ConflictError, match=f"{equal} and {control}, which serves 'demo', are equal: both are round"
        ):
            tests.start(equal, 0.5)
    better = going_on(store, 1, "newest", 4, 4), going_on(store, 1, "same", 5, 5)
    weighed = [going_on(store, 1, "newest", 4, 2, **other) for other in ({"weight": 0.25}, {"short": 0.25})]
    models = ModelStore(engine, clock)
    assert equal_to_active(engine, models.page(), models.all_active()) == {copied, taken_up, again}
    for other in (*better, *weighed):
        tests.stop(tests.start(other, 0.5).id, "by hand")


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
