"""A job while it runs: metrics by round, its log, and both as they come."""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from backend.damaged_rows import shown
from backend.dependencies import LARGEST_ID, CurrentServices, CurrentSettings, Ending, JobId, Jobs, Metrics
from backend.job_rows import job_of, log_line_of, round_of
from backend.middleware import client_of
from backend.openapi import problems
from backend.query_route import KnownQueryRoute
from backend.services import Services
from fedmem.contracts import JobEvent, JobLogs, JobMetrics
from fedmem.contracts.jobs import Split
from fedmem.storage.jobs import JobRow

router = APIRouter(tags=["jobs"], route_class=KnownQueryRoute)
ENDED = ("succeeded", "failed", "stopped")
MOST_ROUNDS = 1000
STREAM_SECONDS = 3600.0  # that a stream lasts at most; a paused job's would have no end

AfterRound = Annotated[
    int,
    Query(ge=-1, le=LARGEST_ID, description="Only later rounds. Round 0, the state before training, holds baselines."),
]


@router.get("/jobs/{job_id}/metrics", responses=problems(404, 503))
def get_job_metrics(
    job_id: JobId,
    jobs: Jobs,
    metrics: Metrics,
    after_round: AfterRound = -1,
    limit: Annotated[int, Query(ge=1, le=MOST_ROUNDS, description="How many rounds at most.")] = MOST_ROUNDS,
    split: Annotated[list[Split] | None, Query(description="Only these splits; repeatable. Default all.")] = None,
) -> JobMetrics:
    """List the metrics of the rounds after one, in order: ask again with the last round you have."""
    job = jobs.get(job_id)
    rows = metrics.rounds(job_id, after_round=after_round, limit=limit, splits=split)
    return JobMetrics(job_id=job_id, state=job.state, rounds=tuple(shown(round_of, rows)))


@router.get("/jobs/{job_id}/logs", responses=problems(404, 503))
def get_job_logs(
    job_id: JobId,
    jobs: Jobs,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID, description="Only lines after this one's id.")] = 0,
    before: Annotated[
        int | None,
        Query(ge=1, le=LARGEST_ID, description="Only lines before this one's id, and of these the last ones."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many lines at most.")] = 200,
) -> JobLogs:
    """List lines of the log, in order: the first ones after `after`, or the last ones before `before`."""
    jobs.get(job_id)
    return JobLogs(job_id=job_id, lines=tuple(shown(log_line_of, jobs.logs(job_id, after, limit, before))))


def _job_there_is(job_id: JobId, jobs: Jobs) -> JobRow:
    """Look up the job before the stream begins, while the answer may still be 404."""
    return jobs.get(job_id)


async def _one_of_few(request: Request) -> AsyncIterator[None]:
    """Take one of the streams that may be open at a time, until it ends."""
    with request.app.state.streams.slot(client_of(request.scope)):
        yield


@router.get(
    "/jobs/{job_id}/events",
    response_class=EventSourceResponse,
    dependencies=[Depends(_job_there_is), Depends(_one_of_few)],
    responses=problems(404, 503),
)
async def watch_job(
    job_id: JobId,
    services: CurrentServices,
    settings: CurrentSettings,
    ending: Ending,
    after_round: AfterRound = -1,
    last_event_id: Annotated[
        int | None, Header(ge=-1, le=LARGEST_ID, description="Sent by a browser that connects again; as `after_round`.")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Send server-sent events: `job` whenever the job or its rounds changed, and `end` once, as the last.

    The data is a JobEvent, the id the last round that was sent. So many streams may be open at a time, a quarter of
    them of one address, then 503. One ends after an hour: browsers connect again by themselves and go on where they
    were.
    """
    reached = after_round if last_event_id is None else last_event_id
    before: JobEvent | None = None
    until = anyio.current_time() + STREAM_SECONDS
    while not ending.is_set():
        event = await anyio.to_thread.run_sync(_news, services, job_id, reached)
        more = len(event.rounds) == MOST_ROUNDS
        ended = event.job.state in ENDED and not more
        if ended or event.rounds or before is None or event.job != before.job:
            reached = event.rounds[-1].round if event.rounds else reached
            yield ServerSentEvent(data=event, event="end" if ended else "job", id=str(reached))
            before = event
        if ended:
            return
        if not more:
            with anyio.move_on_after(settings.refresh_seconds):
                await ending.wait()
        if anyio.current_time() >= until:
            return


def _news(services: Services, job_id: int, reached: int) -> JobEvent:
    # The job first: a round that comes between the two is only early, and none is missed at the end.
    job = services.jobs.get(job_id)
    rounds = services.metrics.rounds(job_id, after_round=reached, limit=MOST_ROUNDS)
    return JobEvent(job=job_of(job), rounds=tuple(shown(round_of, rounds)))
