"""The online evaluation."""

from typing import Annotated

from fastapi import APIRouter, Query

from backend.dependencies import SEES_USERS, CurrentServices, DatasetName
from backend.online import DAYS
from backend.openapi import problems
from backend.query_route import KnownQueryRoute
from fedmem.contracts import OnlineEvaluation

router = APIRouter(tags=["online"], route_class=KnownQueryRoute)


@router.get("/evaluation/online", dependencies=[SEES_USERS], responses=problems(404, 409, 503))
def evaluate_online(
    dataset: DatasetName,
    services: CurrentServices,
    days: Annotated[float, Query(gt=0, le=3650, description="Only answers of the last so many days.")] = DAYS,
) -> OnlineEvaluation:
    """Say which share of the noted answers led to a click, and to an interaction with what was recommended.

    `FEDMEM_IMPRESSIONS` is the share of answers to known users that are noted, drawn at random; 20 items of each.
    Feedback counts for the answer that it names (`recommendation_id`) or, where it names none, for the newest that
    showed its user the item, within `FEDMEM_ATTRIBUTION_HOURS`. Intervals take answers to be independent, which those
    of one user are not quite: they are somewhat too narrow.
    """
    return services.impressions.evaluate(dataset, days)
