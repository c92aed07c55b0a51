"""A/B tests: two models share a data set's users."""

from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query

from backend.ab_results import result_of
from backend.damaged_rows import shown
from backend.dependencies import LARGEST_ID, SEES_USERS, WRITES, CurrentSettings, OnlyDataset, Trials
from backend.openapi import problems
from backend.query_route import KnownQueryRoute
from fedmem.contracts import AbTest, AbTestList, AbTestRequest

router = APIRouter(tags=["online"], route_class=KnownQueryRoute)

TestId = Annotated[int, Path(ge=1, le=LARGEST_ID, description="The test's number.", examples=[1])]


@router.get("/ab-tests", dependencies=[SEES_USERS], responses=problems(404, 503))
def list_ab_tests(
    trials: Trials,
    settings: CurrentSettings,
    dataset: OnlyDataset,
    limit: Annotated[int, Query(ge=1, le=100, description="How many.")] = 20,
) -> AbTestList:
    """List the newest tests with what they have shown."""
    show = partial(result_of, store=trials.tests, settings=settings)
    return AbTestList(tests=tuple(shown(show, trials.tests.page(dataset, limit))))


@router.get("/ab-tests/{test_id}", dependencies=[SEES_USERS], responses=problems(404, 503))
def get_ab_test(test_id: TestId, trials: Trials, settings: CurrentSettings) -> AbTest:
    """Return a test with what it has shown by now.

    Arms are compared by users, as these are what is split: the share who took, or clicked on, something recommended
    within FEDMEM_ATTRIBUTION_HOURS of the first noted answer. The interval of the difference holds however often it is
    looked at, so a test may be stopped as soon as it leaves zero out.
    """
    return result_of(trials.tests.get(test_id), trials.tests, settings)


@router.post(
    "/ab-tests",
    status_code=HTTPStatus.CREATED,
    dependencies=[WRITES],
    responses=problems(400, 404, 409, 413, 503),
)
def start_ab_test(request: AbTestRequest, trials: Trials, settings: CurrentSettings) -> AbTest:
    """Let a model answer a share of its data set's users, beside the one in service; it is loaded and checked first.

    Which users, a salted hash of the id says: the same for the whole test, and others in the next. While it runs, the
    model of a job that is done waits. Another activation, or a rollback, ends it.
    """
    return result_of(trials.start(request.treatment, request.share), trials.tests, settings)


@router.post("/ab-tests/{test_id}/stop", dependencies=[WRITES], responses=problems(404, 409, 413, 503))
def stop_ab_test(test_id: TestId, trials: Trials, settings: CurrentSettings) -> AbTest:
    """End a test: the control answers all users again. To take the treatment instead, activate it: that ends it too."""
    return result_of(trials.stop(test_id, "stopped by HTTP"), trials.tests, settings)
