"""Models and which of them is served."""

import dataclasses

import pytest

from fedmem.errors import ConflictError, UnknownModelError
from fedmem.storage.jobs import Verdict
from fedmem.storage.models import ModelStore
from tests.storage.builders import add_dataset, claim, queue, result


@pytest.fixture
def models(engine, clock):
    return ModelStore(engine, clock)


def trained(store, clock, activate=False, verdict=None, **job):
    """A job that has left a model; the model's version."""
    clock.advance(1)
    queue(store, **job)
    lease = claim(store)
    store.commit_round(lease, result(0))
    store.commit_round(lease, result(1))
    kind = {"activate": activate} if verdict is None else {"verdict": verdict}
    store.finish(lease, "succeeded", test={"HR@10": 0.25}, test_round=1, model_round=1, **kind)
    return f"job-{lease.job_id}-round-1"


def test_nothing_is_served_before_there_is_a_model(models):
    assert models.all_active() == []
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
    assert models.active("demo").version == second
    back = models.activate(first, "rollback")
    assert (back.version, back.active) == (first, True)
    assert models.active("demo") == back
    assert [model.active for model in models.page()] == [False, True]


def test_what_served_last_stands_in_first_and_an_experiment_only_if_it_was_ever_put_into_service(models, store, clock):
    chosen = trained(store, clock, kind="experiment")
    served = trained(store, clock, activate=True)
    never_served = [trained(store, clock) for _ in range(2)]
    trained(store, clock, kind="experiment")
    damaged = trained(store, clock, activate=True)
    for version in (served, chosen, damaged):
        models.activate(version, "by hand")
    found = models.stand_ins(models.get(damaged))
    assert [model.version for model in found] == [chosen, served, *never_served[::-1]]


def test_none_stands_in_whose_checkpoint_is_gone_or_that_knows_other_data(models, store, clock, engine):
    from fedmem.storage.engine import writing
    from fedmem.storage.schema import rounds

    damaged, gone = trained(store, clock), trained(store, clock)
    with writing(engine) as connection:
        connection.execute(rounds.update().where(rounds.c.job_id == 2).values(checkpoint=None))
    assert gone.startswith("job-2-")
    assert models.stand_ins(models.get(damaged)) == []
    other = dataclasses.replace(models.get(damaged), version="job-9-round-1", dataset="other")
    assert models.stand_ins(other) == []


def test_a_rollback_goes_back_step_by_step_past_what_is_not_kept(models, store, clock, engine):
    from fedmem.storage.engine import writing
    from fedmem.storage.schema import rounds

    versions = [trained(store, clock, activate=True) for _ in range(4)]
    models.activate(versions[3], "again, which changes nothing")
    assert [row.version for row in models.history()] == versions[::-1]
    assert models.before("demo").version == versions[2]
    assert models.roll_back("demo", "back").version == versions[2]
    with writing(engine) as connection:
        connection.execute(rounds.update().where(rounds.c.job_id == 2).values(checkpoint=None))
    assert models.roll_back("demo", "back").version == versions[0]
    with pytest.raises(ConflictError, match="no model that is kept served the data set 'demo' before"):
        models.roll_back("demo", "back")
    models.activate(versions[3], "forward")
    assert models.roll_back("demo", "back").version == versions[0]
    assert [row.reason for row in models.history(limit=3)] == ["back", "forward", "back"]
    assert models.history("other") == []


@pytest.mark.parametrize("before_id", [2, 3, 99])
def test_a_history_that_goes_on_nowhere_or_in_a_circle_ends_there(models, store, clock, engine, before_id):
    versions = [trained(store, clock, activate=True) for _ in range(3)]
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE activations SET before_id = {before_id} WHERE id = 2")
    assert models.roll_back("demo", "back").version == versions[1]
    with pytest.raises(ConflictError, match="no model that is kept served"):
        models.roll_back("demo", "back")


def test_a_rollback_puts_no_other_data_sets_model_into_service(models, store, clock, engine):
    add_dataset(engine, "other")
    trained(store, clock, activate=True, dataset="other")
    trained(store, clock, activate=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE activations SET before_id = 1 WHERE id = 2")
    with pytest.raises(ConflictError, match="no model that is kept served the data set 'demo'"):
        models.roll_back("demo", "back")


def test_a_rollback_leaves_out_what_it_is_told_to(models, store, clock):
    versions = [trained(store, clock, activate=True) for _ in range(3)]
    assert models.before("demo", [versions[1]]).version == versions[0]
    assert models.roll_back("demo", "back", [versions[1]]).version == versions[0]


def test_a_model_that_was_held_back_stands_in_only_once_it_has_served(models, store, clock):
    serving = trained(store, clock, activate=True)
    held = trained(store, clock, verdict=Verdict(False, "worse"))
    assert models.get(held).held_back == "worse"
    assert models.stand_ins(models.get(serving)) == []
    models.activate(held, "asked for")
    models.activate(serving, "asked for")
    assert [row.version for row in models.stand_ins(models.get(serving))] == [held]


def test_a_verdict_counts_only_against_what_it_was_compared_with(models, store, clock):
    serving = trained(store, clock, verdict=Verdict(True, "the first", compared=True))
    assert models.active("demo").version == serving
    late = trained(store, clock, verdict=Verdict(True, "above popularity", compared=True))
    assert models.active("demo").version == serving
    assert models.get(late).held_back.startswith("another model went into service")
    better = trained(store, clock, verdict=Verdict(True, "better", compared=True, against=serving))
    assert [(row.version, row.reason) for row in models.history()] == [(better, "better"), (serving, "the first")]


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
    assert models.all_active() == []
