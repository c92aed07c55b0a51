"""What is stored of a user: export and deletion."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from backend.dependencies import (
    SEES_USERS,
    WRITES,
    Catalogue,
    Changes,
    CurrentLinks,
    CurrentServices,
    CurrentUploads,
    DatasetName,
    UserIdInPath,
)
from backend.openapi import problems
from backend.query_route import KnownQueryRoute
from backend.rows import history_of
from fedmem.contracts import UserHistory, UserPage, UserSummary
from fedmem.contracts.contract import STORED
from fedmem.errors import UnknownUserError

router = APIRouter(tags=["users"], route_class=KnownQueryRoute)


@router.get("/users", dependencies=[SEES_USERS], responses=problems(404, 409, 503))
def list_users(
    dataset: DatasetName,
    catalogue: Catalogue,
    links: CurrentLinks,
    q: Annotated[str, Query(max_length=200, description="Only users whose id contains this.")] = "",
    after: Annotated[str | None, Query(pattern=STORED, description="Only users behind this one.")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="How many.")] = 50,
) -> UserPage:
    """List users by id, with the length of their histories."""
    rows = catalogue.users(dataset, search=q, after=after, limit=limit + 1)
    following = None
    if len(rows) > limit:
        rows = rows[:limit]
        query = {"q": q, "dataset": dataset, "after": rows[-1].user_id, "limit": limit}
        following = links.path("/users", **query)
    return UserPage(
        users=tuple(UserSummary(user_id=row.user_id, interactions=row.interactions) for row in rows), next=following
    )


@router.get("/users/{user_id:id}/history", dependencies=[SEES_USERS], responses=problems(404, 409, 503))
def get_user_history(
    user_id: UserIdInPath, dataset: DatasetName, catalogue: Catalogue, services: CurrentServices
) -> UserHistory:
    """Export everything that is stored of a user, oldest first: interactions, and answers that were noted."""
    rows, shown = catalogue.history(dataset, user_id), services.impressions.store.of_user(dataset, user_id)
    if not rows and not shown:
        raise UnknownUserError(f"the data set {dataset!r} has no interaction of a user {user_id!r}")
    return history_of(user_id, rows, catalogue.items_by_id(dataset, {row.item_id for row in rows}), shown)


@router.delete(
    "/users/{user_id:id}",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[WRITES],
    responses=problems(404, 409, 413, 503),
)
def delete_user(user_id: UserIdInPath, dataset: DatasetName, changes: Changes, uploads: CurrentUploads) -> None:
    """Delete a user's interactions and noted answers for good, and the user's memory from every checkpoint.

    No later import or feedback brings back what happened up to the deletion: of the id a salted digest is kept.
    The user goes from the snapshots of the data that jobs trained on too, so that a job that is resumed or continues
    another trains without; one that is running begins anew from its last round for that. What its weights have learned
    stays in them, and runs of `fedmem train`, `ablate` and `tune`, also those under `experiments/` of the data folder,
    keep the users of the files they were given: remove their folders. Uploaded files that are not imported yet are
    removed, because any may hold the user. Done twice, it is done.
    `POST /users/{user_id}/readmit` lets what happened before in again.
    """
    uploads.remove_all()
    changes.delete_user(dataset, user_id)


@router.post(
    "/users/{user_id:id}/readmit",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[WRITES],
    responses=problems(401, 404, 409, 413, 503),
)
def readmit_user(user_id: UserIdInPath, dataset: DatasetName, catalogue: Catalogue) -> None:
    """Let a deleted user come back with their past: later imports and feedback may hold it again.

    Nothing that was deleted comes back by this alone. Without it, a deleted user who acts again begins anew.
    """
    catalogue.readmit_user(dataset, user_id)
