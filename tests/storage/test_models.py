"""Models and which of them is served."""

import pytest

from fedmem.errors import ConflictError, UnknownModelError
from fedmem.storage.models import ModelStore
from tests.storage.builders import claim, queue, result


@pytest.fixture
def models(engine, clock):
    return ModelStore(engine, clock)


def trained(store, clock, activate=False):
    """A job that has left a model; the model's version."""
    clock.advance(1)
    queue(store)
    lease = claim(store)
    store.commit_round(lease, result(0))
    store.commit_round(lease, result(1))
    store.finish(lease, "succeeded", test={"HR@10": 0.25}, test_round=1, model_round=1, activate=activate)
    return f"job-{lease.job_id}-round-1"


def test_nothing_is_served_before_there_is_a_model(models):
    assert models.active() is None
    assert models.page() == []


def test_a_model_with_its_metrics(models, store, clock):
    version = trained(store, clock)
    model = models.get(version)
    assert (model.version, model.dataset, model.round, model.checkpoint, model.created_at) == (
        version,
        "demo",
        1,
        "000001",
        clock.now,
    )
    assert model.metrics == {"validation": {"HR@10": 0.1}, "test": {"HR@10": 0.25}}
    assert model.active is False


def test_newest_first(models, store, clock):
    versions = [trained(store, clock) for _ in range(3)]
    assert [model.version for model in models.page()] == versions[::-1]
    assert [model.version for model in models.page(limit=2)] == versions[:0:-1]


def test_activation_and_rollback(models, store, clock):
    first, second = trained(store, clock, activate=True), trained(store, clock, activate=True)
    assert models.active().version == second
    back = models.activate(first, "rollback")
    assert (back.version, back.active) == (first, True)
    assert models.active() == back
    assert [model.active for model in models.page()] == [False, True]


def test_an_unknown_model(models):
    with pytest.raises(UnknownModelError, match="there is no model 'job-7-round-1'"):
        models.activate("job-7-round-1", "why not")
    with pytest.raises(UnknownModelError):
        models.get("")


def test_a_model_without_its_checkpoint_is_not_activated(models, store, clock, engine):
    from fedmem.storage.engine import writing
    from fedmem.storage.schema import rounds

    version = trained(store, clock)
    with writing(engine) as connection:
        connection.execute(rounds.update().values(checkpoint=None))
    with pytest.raises(ConflictError, match=f"checkpoint of model {version} is no longer kept"):
        models.activate(version, "try")
    assert models.active() is None
