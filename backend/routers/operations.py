"""Health, what Prometheus reads, data sets and trainers."""

import time

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from backend.dependencies import CurrentServices, Jobs
from backend.errors import NotReadyError
from backend.openapi import problems
from backend.rows import trainer_of
from fedmem.contracts import Live, Ready, TrainerList
from fedmem.storage.engine import check_schema

router = APIRouter(tags=["operations"])
public = APIRouter(tags=["operations"])


@public.get("/health/live", responses=problems())
async def is_live() -> Live:
    """Whether the process answers."""
    return Live()


@public.get(
    "/metrics",
    response_class=Response,
    responses={**problems(), 200: {"description": "Prometheus text.", "content": {"text/plain": {}}}},
)
async def get_metrics(request: Request) -> Response:
    """Counters in the Prometheus text format."""
    text = generate_latest(request.app.state.http_metrics.registry)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get("/health/ready", responses=problems(503))
async def is_ready(services: CurrentServices) -> Ready:
    """Whether the database is at this version's schema and a model answers; else 503 says which is missing."""
    await anyio.to_thread.run_sync(check_schema, services.engine)
    raise NotReadyError("no model is in service yet: queue a training job with POST /jobs and let it finish")


@router.get("/trainers", responses=problems(503))
def list_trainers(jobs: Jobs) -> TrainerList:
    """Who trains, and who was last heard of when."""
    now = time.time()
    rows = sorted(jobs.trainers(), key=lambda row: row.seen_at, reverse=True)
    return TrainerList(trainers=tuple(trainer_of(row, now) for row in rows))
