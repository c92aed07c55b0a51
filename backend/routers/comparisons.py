"""Jobs side by side."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import FailFast, Field

from backend.comparisons import comparison_of
from backend.dependencies import LARGEST_ID, Jobs, Models
from backend.openapi import problems
from backend.query_route import KnownQueryRoute
from fedmem.contracts import JobComparison
from fedmem.contracts.contract import PRINTABLE

router = APIRouter(tags=["jobs"], route_class=KnownQueryRoute)

MOST = 20

ComparedJobs = Annotated[
    tuple[Annotated[int, Field(ge=1, le=LARGEST_ID)], ...],
    FailFast(),
    Query(min_length=2, max_length=MOST, description="A job's number; repeated, once for each.", examples=[[7, 8]]),
]
ComparedMetrics = Annotated[
    tuple[Annotated[str, Field(max_length=255, pattern=PRINTABLE)], ...],
    FailFast(),
    Query(max_length=MOST, description="Only this metric, such as NDCG@10; may be repeated."),
]


@router.get("/jobs/comparison", responses=problems(404, 409, 503))
def compare_jobs(jobs: Jobs, models: Models, job: ComparedJobs, metric: ComparedMetrics = ()) -> JobComparison:
    """Say what sets jobs apart (settings, snapshot) and what their models reach on test.

    Figures that do not compare are a 409: of different data sets or splits, or of a metric that a job does not measure.
    """
    return comparison_of([jobs.get(number) for number in job], models, metric)
