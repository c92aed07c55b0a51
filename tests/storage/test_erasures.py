"""Deleted users stay on the list of a job until its files are rid of them and no trainer can write them again."""

import threading

import pytest

from fedmem.errors import UnknownJobError
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from fedmem.storage.erasures import Erasure, ErasureStore
from fedmem.storage.import_lock import alone
from tests.storage.builders import LEASE, claim, queue, result
from tests.waiting import PATIENCE


@pytest.fixture
def erasures(engine, store):
    return ErasureStore(engine)


@pytest.fixture
def catalogue(engine, store):
    found = CatalogueStore(engine)
    found.write("demo", "test", InteractionColumns(["u", "v"], ["a", "a"], [1.0, 1.0]), [ItemRow("a", "A")])
    found.write("other", "test", InteractionColumns(["u"], ["a"], [1.0]), [ItemRow("a", "A")])
    return found


def finished(store, **changes):
    """A job that was stopped after a round."""
    job = queue(store, **changes)
    lease = claim(store)
    store.commit_round(lease, result(0))
    store.commit_round(lease, result(1))
    store.finish(lease, "failed", message="the test")
    return job


def test_a_deletion_is_asked_of_all_jobs_of_the_data_set(store, erasures, catalogue):
    first, _, second = finished(store), finished(store, dataset="other"), finished(store)
    assert erasures.pending() == []
    catalogue.delete_user("demo", "u")
    catalogue.delete_user("demo", "stranger")
    assert erasures.pending() == [Erasure(job, 1, ("stranger", "u")) for job in (first, second)]


def test_users_of_a_snapshot_who_were_deleted_since_are_gone_and_so_are_those_who_came_back(store, erasures, catalogue):
    """By the same number another may have been imported anew, whom the snapshot does not know."""
    job, lease = queue(store), claim(store)
    store.begin(lease, snapshot_digest="of u and v", last_interaction_id=catalogue.history("demo", "v")[0].id)
    assert erasures.gone(job, ["u", "v"]) == set()
    catalogue.delete_user("demo", "u")
    assert erasures.gone(job, ["u", "v"]) == {"u"}
    catalogue.readmit_user("demo", "u")
    catalogue.write("demo", "again", InteractionColumns(["u", "w"], ["a", "a"], [1.0, 1.0]), [])
    assert erasures.gone(job, ["u", "v"]) == {"u"}
    after, lease = queue(store), claim(store)
    store.begin(lease, snapshot_digest="newer", last_interaction_id=catalogue.history("demo", "w")[0].id)
    assert erasures.gone(after, ["u", "v", "w"]) == set()


def test_of_a_job_that_is_no_more_it_is_not_said_who_is_gone(erasures):
    with pytest.raises(UnknownJobError):
        erasures.gone(77, ["u"])


def test_what_is_done_of_an_ended_job_is_done(store, erasures, catalogue):
    finished(store)
    catalogue.delete_user("demo", "u")
    catalogue.delete_user("demo", "v")
    catalogue.delete_user("demo", "w")
    (both,) = erasures.pending()
    erasures.done(Erasure(both.job_id, both.token, ("u", "w")))
    (left,) = erasures.pending()
    assert left.user_ids == ("v",)
    erasures.done(left)
    assert erasures.pending() == []
    erasures.ask(left.job_id, ["v"])
    assert erasures.pending() == [left]


def test_a_running_job_is_its_trainers_to_erase(store, erasures, catalogue):
    job = queue(store)
    lease = claim(store)
    assert not store.has_erasures(lease)
    catalogue.delete_user("demo", "u")
    assert erasures.pending() == []
    assert store.has_erasures(lease)
    (asked,) = erasures.of_job(job)
    assert asked == Erasure(job, 1, ("u",))
    erasures.done(asked)
    assert not store.has_erasures(lease)
    store.release(lease)
    assert erasures.pending() == []


def test_a_running_job_that_rests_is_for_the_first_comer_to_erase(store, erasures, catalogue):
    job = queue(store)
    lease = claim(store)
    catalogue.delete_user("demo", "u")
    store.pause(job)
    store.release(lease)
    assert erasures.pending() == [Erasure(job, 1, ("u",))]
    erasures.done(Erasure(job, 1, ("u",)))
    assert erasures.pending() == []


def test_a_job_that_was_taken_up_meanwhile_is_erased_again(store, erasures, catalogue):
    job = queue(store)
    store.release(claim(store))
    catalogue.delete_user("demo", "u")
    (before,) = erasures.pending()
    store.finish(claim(store), "failed", message="the test")
    erasures.done(before)
    assert erasures.pending() == [Erasure(job, before.token + 1, ("u",))]


def test_a_paused_job_that_is_stopped_leaves_nothing_behind(store, erasures, catalogue):
    job = queue(store)
    store.pause(job)
    catalogue.delete_user("demo", "u")
    erasures.done(*erasures.pending())
    assert erasures.pending() == []
    store.stop(job)
    assert erasures.pending() == []


def test_a_dead_trainers_job_waits_for_the_next_one(store, erasures, catalogue, clock):
    queue(store)
    claim(store)
    catalogue.delete_user("demo", "u")
    clock.advance(LEASE + 1)
    assert erasures.pending() == []
    store.finish(claim(store, "t2"), "failed", message="the test")
    assert len(erasures.pending()) == 1


def test_deleted_again_is_erased_again(store, erasures, catalogue):
    job = queue(store)
    store.pause(job)
    catalogue.delete_user("demo", "u")
    erasures.done(*erasures.pending())
    catalogue.delete_user("demo", "u")
    assert erasures.pending() == [Erasure(job, 0, ("u",))]


def test_who_continues_a_job_has_its_erasures_too(store, erasures, catalogue):
    first = finished(store)
    catalogue.delete_user("demo", "u")
    second = queue(store, start_from=first, num_rounds=20)
    assert [erasure.job_id for erasure in erasures.pending()] == [first, second]
    for erasure in erasures.pending():
        erasures.done(erasure)
    assert erasures.pending() == []
    store.finish(claim(store), "failed", message="the test")
    assert erasures.pending() == []


def test_one_process_erases_at_a_time_and_imports_do_not_keep_it_waiting(engine):
    erasures, order = ErasureStore(engine), []
    begun = threading.Event()

    def second() -> None:
        begun.set()
        with erasures.alone():
            order.append("second")

    thread = threading.Thread(target=second)
    with alone(engine) as imports, erasures.alone():
        assert imports
        thread.start()
        assert begun.wait(PATIENCE)
        with alone(engine, work="erasure") as taken:
            assert not taken
        order.append("first")
    thread.join(PATIENCE)
    assert order == ["first", "second"]
