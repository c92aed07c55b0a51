"""Jobs under any order of users' wishes, trainers' writes and deaths, against a model of what may happen.

The model is written down independently of the store's table of transitions, and so small that it can be read at once.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from fedmem.errors import ConflictError, LeaseLostError
from fedmem.storage.engine import reading, writing
from fedmem.storage.jobs import JobStore
from fedmem.storage.metrics import MetricStore
from fedmem.storage.schema import metadata, models
from tests.clock import Clock
from tests.storage.builders import LEASE, add_dataset, result

ATTEMPTS = 2  # so few that short runs come to the end of them
ENDED = ("succeeded", "failed", "stopped")
WISHES = st.sampled_from(["pause", "resume", "stop"])
WORKERS = st.sampled_from(["t1", "t2"])


@dataclass
class Expected:
    """What must stand in the database of one job."""

    state: str = "queued"
    wanted: str = "running"
    rounds: int = -1  # the last that was committed
    deaths: int = 0  # attempts since the last round, the present one included
    lease_ends: float = 0.0
    holder: object = None  # the lease that may write
    stale: list = field(default_factory=list)  # those that may not

    def may(self, wish):
        if self.state in ("succeeded", "failed"):
            return False
        return wish == "stop" or self.wanted != "stopped"

    def rest(self):
        self.state = {"running": "queued", "paused": "paused", "stopped": "stopped"}[self.wanted]
        self.drop()

    def drop(self):
        if self.holder is not None:
            self.stale.append(self.holder)
        self.holder = None


class JobMachine(RuleBasedStateMachine):
    """Two trainers and a user at a handful of jobs."""

    engine = None

    @initialize()
    def start(self):
        with writing(self.engine) as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        add_dataset(self.engine)
        self.clock = Clock()
        self.store, self.metrics = JobStore(self.engine, self.clock), MetricStore(self.engine)
        self.jobs = {}

    def alive(self):
        return [number for number, job in sorted(self.jobs.items()) if job.state not in ENDED]

    def ended(self):
        return [number for number, job in sorted(self.jobs.items()) if job.state in ENDED]

    def held(self):
        return [number for number, job in sorted(self.jobs.items()) if job.holder]

    def pick_held(self, data):
        return data.draw(st.sampled_from(self.held()))

    @precondition(lambda self: len(self.alive()) < 2)
    @rule()
    def create(self):
        request = {"kind": "training", "dataset": "demo", "config": {}, "num_rounds": 5}
        self.jobs[self.store.create(**request)[0].id] = Expected()

    @precondition(alive)
    @rule(data=st.data(), wishes=st.lists(WISHES, min_size=1, max_size=3))
    def ask(self, data, wishes):
        number = data.draw(st.sampled_from(self.alive()))
        for wish in wishes:
            self.ask_of(number, wish)

    @precondition(ended)
    @rule(data=st.data(), wish=WISHES)
    def ask_of_what_has_ended(self, data, wish):
        self.ask_of(data.draw(st.sampled_from(self.ended())), wish)

    def ask_of(self, number, wish):
        job = self.jobs[number]
        wanted = {"stop": "stopped", "pause": "paused", "resume": "running"}[wish]
        if not job.may(wish):
            with pytest.raises(ConflictError, match=f"job {number} "):
                getattr(self.store, wish)(number)
            return
        answer = getattr(self.store, wish)(number)
        job.wanted = wanted
        if job.state in ("queued", "paused"):
            job.state = {"stopped": "stopped", "paused": "paused", "running": "queued"}[wanted]
        assert (answer.state, answer.desired_state) == (job.state, job.wanted)

    @precondition(held)
    @rule(worker=WORKERS)
    def kill_and_claim(self, worker):
        """A trainer that was killed is one that is not heard of."""
        self.clock.advance(LEASE + 1)
        self.claim(worker)

    @rule(worker=WORKERS)
    def claim(self, worker):
        claimed = self.store.claim(worker, LEASE, ATTEMPTS)
        expected = self.claim_in_the_model()
        assert (claimed and claimed[0].id) == expected
        if claimed:
            job, lease = self.jobs[expected], claimed[1]
            assert (lease.worker, lease.job_id) == (worker, expected)
            assert all(lease.token > old.token for old in job.stale)
            job.state, job.holder, job.lease_ends = "running", lease, self.clock.now + LEASE
            job.deaths += 1

    def claim_in_the_model(self):
        def settled_first(item):
            number, job = item
            return job.wanted == "running" and job.deaths < ATTEMPTS, job.deaths, number

        for number, job in sorted(self.jobs.items(), key=settled_first):
            died = job.state == "running" and job.lease_ends < self.clock.now
            if job.state != "queued" and not died:
                continue
            if died and job.wanted != "running":
                job.rest()
            elif job.deaths >= ATTEMPTS:
                job.state = "failed"
                job.drop()
            else:
                if died:
                    job.drop()
                return number
        return None

    @rule(seconds=st.sampled_from([1.0, LEASE - 1, LEASE + 1]))
    def time_goes_by(self, seconds):
        self.clock.advance(seconds)

    @precondition(held)
    @rule(data=st.data())
    def renew(self, data):
        job = self.jobs[self.pick_held(data)]
        assert self.store.renew(job.holder, LEASE, 1, 2) == job.wanted
        job.lease_ends = self.clock.now + LEASE

    @precondition(held)
    @rule(data=st.data(), is_best=st.booleans())
    def commit_round(self, data, is_best):
        job = self.jobs[self.pick_held(data)]
        job.rounds += 1
        job.deaths = 0 if job.rounds > 0 else job.deaths
        self.store.commit_round(job.holder, result(job.rounds, is_best=is_best))

    @precondition(held)
    @rule(data=st.data())
    def give_back(self, data):
        job = self.jobs[self.pick_held(data)]
        answer = self.store.release(job.holder)
        job.rest()
        job.deaths = max(0, job.deaths - 1)
        assert answer == job.state

    @precondition(lambda self: any(self.jobs[number].rounds >= 0 for number in self.held()))
    @rule(data=st.data(), state=st.sampled_from(ENDED))
    def finish(self, data, state):
        job = self.jobs[self.pick_held(data)]
        model = {"model_round": job.rounds} if job.rounds > 0 and state != "failed" else {}
        if state == "stopped" and job.wanted != "stopped":
            with pytest.raises(ConflictError, match="not asked to stop"):
                self.store.finish(job.holder, state, **model)
            return
        self.store.finish(job.holder, state, **model)
        job.state = state
        job.drop()

    @precondition(lambda self: any(job.stale for job in self.jobs.values()))
    @rule(data=st.data())
    def come_back_too_late(self, data):
        """SIGCONT: a trainer that slept tries to go on."""
        lease = data.draw(st.sampled_from([lease for _, job in sorted(self.jobs.items()) for lease in job.stale]))
        write = data.draw(st.sampled_from(["renew", "commit_round", "release", "finish"]))
        arguments = {
            "renew": (LEASE, 0, 1),
            "commit_round": (result(self.jobs[lease.job_id].rounds + 1),),
            "release": (),
            "finish": ("succeeded",),
        }
        with pytest.raises(LeaseLostError):
            getattr(self.store, write)(lease, *arguments[write])

    @invariant()
    def database_and_model_agree(self):
        found = {job.id: job for job in self.store.page()}
        for number, job in self.jobs.items():
            row = found[number]
            assert (row.state, row.desired_state) == (job.state, job.wanted)
            assert (row.worker is None) == (row.lease_expires_at is None) == (job.state != "running")
            assert (row.finished_at is not None) == (job.state in ENDED)
            assert row.round == max(0, job.rounds)
            assert row.attempts_without_progress == job.deaths
            assert [r.round for r in self.metrics.rounds(number, after_round=-1)] == list(range(job.rounds + 1))

    @invariant()
    def one_model_at_most_and_only_of_ended_jobs(self):
        with reading(self.engine) as connection:
            left = [job_id for (job_id,) in connection.execute(select(models.c.job_id))]
        assert len(left) == len(set(left))
        assert all(self.jobs[job_id].state in ("succeeded", "stopped") for job_id in left)

    def teardown(self):
        assert sorted(row.id for row in self.store.page()) == sorted(self.jobs)


# The rules are the same on both; PostgreSQL, where each step takes longer, must only show that it keeps them too.
EXAMPLES = {"sqlite": 60, "postgresql": 15}


def test_any_order_of_events(engine):
    machine = type("JobMachineOnOneDatabase", (JobMachine,), {"engine": engine})
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    examples = EXAMPLES[engine.dialect.name]
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=30, suppress_health_check=checks)
    )
