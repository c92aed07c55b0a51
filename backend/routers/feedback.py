"""What users did: each event is taken or refused by itself."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from backend.dependencies import (
    WRITES,
    AskedDataset,
    Catalogue,
    Changes,
    CurrentServices,
    CurrentSettings,
    Served,
    charge,
    dataset_name,
)
from backend.errors import status_of
from backend.openapi import Responses, problems
from backend.query_route import KnownQueryRoute
from backend.wrong_request import what_is_wrong
from fedmem.contracts import FeedbackEvent, FeedbackRequest, FeedbackResponse, RefusedEvent, WrongEvent
from fedmem.errors import DataError, FedMemError
from fedmem.storage.catalogue_rows import Event
from fedmem.storage.feedback import refusal

router = APIRouter(tags=["users"], route_class=KnownQueryRoute)

SOME_REFUSED: Responses = {
    207: {"model": FeedbackResponse, "description": "Some events were taken, and those in `refused` were not."}
}


@router.post("/feedback", dependencies=[WRITES], responses=SOME_REFUSED | problems(400, 404, 409, 413, 503))
def add_feedback(
    request: FeedbackRequest,
    asked: Request,
    response: Response,
    served: Served,
    catalogue: Catalogue,
    changes: Changes,
    services: CurrentServices,
    settings: CurrentSettings,
    dataset: AskedDataset = None,
) -> FeedbackResponse:
    """Take what users did. Interactions count from the next recommendation on; a retry adds nothing.

    An event that cannot be taken costs only itself: the status is 207 then, and `refused` says which, with the status
    that each would have had alone. Where none can be taken, the answer is that problem. Events of a deleted user from
    before the deletion are left out: a retry does not bring a user back. Of one user at most
    FEDMEM_MAX_FEEDBACK_PER_DAY new interactions are taken in a day (UTC); more are 429, all of that user's.
    """
    charge(asked, len(request.events))
    read = [event.read() for event in request.events]
    wrong = {place: event for place, event in enumerate(read) if isinstance(event, WrongEvent)}
    if len(wrong) == len(read):
        raise DataError(what_is_wrong([error for place, one in wrong.items() for error in _in_body(place, one)]))
    places, events = _events(read, settings.positive_rating)
    name = dataset_name(dataset, served, catalogue)
    services.impressions.flush()  # of an answer a moment ago
    taken = catalogue.take_feedback(name, events, settings.max_feedback_per_day)
    changes.catch_up(name)
    if len(taken.refused) == len(events):
        raise refusal(name, events, taken.refused)
    services.feedback_metrics.took(name, (one for place, one in enumerate(events) if place not in taken.refused))
    refused = _refused(wrong, {places[place]: error for place, error in taken.refused.items()})
    if refused:
        response.status_code = HTTPStatus.MULTI_STATUS
    added = taken.added
    return FeedbackResponse(
        accepted=added.accepted,
        duplicates=added.duplicates,
        left_out=added.left_out,
        counted=added.counted,
        refused=refused,
    )


def _events(read: Sequence[FeedbackEvent | WrongEvent], positive_rating: float) -> tuple[list[int], list[Event]]:
    """List the events that are some, with their places in the request."""
    good = [(place, one) for place, one in enumerate(read) if isinstance(one, FeedbackEvent)]
    return [place for place, _ in good], [_event(one, positive_rating) for _, one in good]


def _event(one: FeedbackEvent, positive_rating: float) -> Event:
    return Event(
        one.user_id,
        one.item_id,
        float(one.timestamp),
        one.kind,
        one.trains(positive_rating),
        one.weight,
        one.recommendation_id,
    )


def _in_body(place: int, event: WrongEvent) -> list[dict[str, Any]]:
    return [{**error, "loc": ("body", "events", place, *error["loc"])} for error in event.errors]


def _refused(wrong: Mapping[int, WrongEvent], refused: Mapping[int, FedMemError]) -> tuple[RefusedEvent, ...]:
    """Say what is wrong with each event that was refused, in their order."""
    found = [
        *(
            (place, HTTPStatus.UNPROCESSABLE_ENTITY, what_is_wrong(_in_body(place, one)))
            for place, one in wrong.items()
        ),
        *((place, status_of(error), str(error)) for place, error in refused.items()),
    ]
    return tuple(
        RefusedEvent(index=place, status=int(status), detail=detail) for place, status, detail in sorted(found)
    )
