"""Recommendations. The handlers touch no database; what computes for long does so in one of a few threads."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from urllib.parse import quote

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import ConfigDict, Field

from backend.cancellable import run_until_disconnected
from backend.dependencies import (
    UNIT,
    WHICH_DATASET,
    WHICH_VERSION,
    Computing,
    CurrentArrivals,
    CurrentLinks,
    CurrentSettings,
    OfDataset,
    Version,
    charge,
    demand,
)
from backend.impressions import Impressions, new_id
from backend.keys import Access
from backend.links import Links
from backend.middleware import client_of
from backend.openapi import problems
from backend.operation_metrics import AnswerMetrics
from backend.query_route import KnownQueryRoute, QueryRoute
from backend.served_model import ServedModel
from backend.served_models import ServedModels
from backend.settings import Settings
from fedmem.contracts import (
    BatchRequest,
    BatchResponse,
    RecommendationResponse,
    Selection,
)
from fedmem.contracts.ab_tests import Arm
from fedmem.contracts.contract import PRINTABLE, STORED, Contract, Listed
from fedmem.contracts.recommendations import MAX_OFFSET, ItemId, RecommendationRequest
from fedmem.errors import ConfigError, UnknownUserError
from fedmem.serving import Question, Recommendation

router = APIRouter(tags=["recommendations"], route_class=KnownQueryRoute)

UserId = Annotated[
    str,
    Path(
        pattern=STORED,
        description="A user's id. An unknown user is answered by the global memory, without prototypes by popularity.",
        examples=["u001"],
    ),
]

# Of ``Selection``, what the path of a list's next page repeats where it is not the default.
REPEATED = {name: field.default for name, field in Selection.model_fields.items() if name not in ("k", "offset")}
MOST_EXCLUDED = 1000  # items that the path of a list may leave out


@dataclass(frozen=True)
class Notes:
    """What is noted of an answer beside it: what answered and, of one to a user, the sample and the A/B test's arm."""

    answers: AnswerMetrics
    impressions: Impressions | None = None
    arm: tuple[int, Arm] | None = None


class KnownUserQuery(Selection):
    """The parameters of ``GET /recommend/{user_id}``."""

    model_config = ConfigDict(extra="ignore")  # the route refuses unknown names, and says which are near

    exclude: Listed[ItemId] = Field((), max_length=MOST_EXCLUDED, description="Not these items; repeatable.")
    model: str | None = Field(None, max_length=255, pattern=PRINTABLE, description=WHICH_VERSION)
    dataset: str | None = Field(None, max_length=255, pattern=PRINTABLE, description=WHICH_DATASET)
    strict: bool = Field(False, description="Whether an unknown user is a 404.")


async def recommend(request: Request, user_id: UserId, query: Annotated[KnownUserQuery, Query()]) -> Response:
    """Recommend the best items that the user has not seen, with titles and scores, and where the answer comes from.

    `next` is the path of the following page, from the same model: pages of one list are disjoint. An explanation shows
    what the user's memory holds, so it needs a key that may write, where there are keys.
    """
    demand(request, Access.WRITE if query.explain else Access.READ)
    state = request.app.state
    check_size(state.settings, query.k)
    served: ServedModel = await state.arrivals.of(query.model, query.dataset, user_id)
    if query.strict and not served.knows(user_id):
        raise UnknownUserError(f"nothing is known of a user {user_id!r}; with strict=false a new user is answered")
    question = Question(user_id, since=served.new_interactions.of(user_id), selection=query)
    resolved = served.recommender.resolve(question)
    charge(request, served.recommender.work(question) if resolved.takes_long else query.end)
    if resolved.takes_long:
        answer = await run_sync(served.recommender.answer_resolved, resolved, limiter=state.computing)
    else:
        answer = served.recommender.answer_resolved(resolved)
    links = state.links.naming(state.served.to_name(served.dataset))
    notes = Notes(state.answers, state.impressions, state.served.arm_of(served, user_id))
    return as_json(_response(answer, question, links, notes))


router.add_api_route(
    "/recommend/{user_id:id}",
    recommend,
    methods=["GET"],
    response_model=RecommendationResponse,
    responses=problems(404, 409, 503),
    route_class_override=QueryRoute,
)


@router.post("/recommend", response_model=RecommendationResponse, responses=problems(400, 404, 409, 413, 503))
async def recommend_for_history(
    request: RecommendationRequest,
    asked: Request,
    arrivals: CurrentArrivals,
    settings: CurrentSettings,
    computing: Computing,
    links: CurrentLinks,
    model: Version = None,
    dataset: OfDataset = None,
) -> Response:
    """Recommend for a history that is sent along: nothing of it is stored, and no log names it.

    With a `user_id` instead it is `GET /recommend/{user_id}`, for more items to `exclude` than an address holds; beyond
    1,000 of them there is no `next`, and `offset` leads on.
    """
    if request.explain and request.user_id is not None:
        demand(asked, Access.WRITE)
    check_size(settings, request.k)
    chosen = await arrivals.of(model, dataset, request.user_id)
    question = _question(request, chosen)
    state = asked.app.state
    notes = Notes(state.answers, state.impressions, _arm_of(arrivals.served, chosen, question))
    charge(asked, chosen.recommender.work(question))
    links = links.naming(arrivals.served.to_name(chosen.dataset))
    return await run_sync(_answer_history, chosen, question, links, notes, limiter=computing)


def _answer_history(served: ServedModel, question: Question, links: Links, notes: Notes) -> Response:
    return as_json(_response(served.recommender.answer(question), question, links, notes))


@router.post("/recommend/batch", response_model=BatchResponse, responses=problems(400, 404, 409, 413, 503))
async def recommend_batch(
    request: BatchRequest,
    asked: Request,
    arrivals: CurrentArrivals,
    settings: CurrentSettings,
    links: CurrentLinks,
    model: Version = None,
    dataset: OfDataset = None,
) -> Response:
    """Answer many at once, of known users and of histories; each is what it would be alone, and no history is stored.

    A batch is refused that is more work than `FEDMEM_MAX_BATCH_ITEMS` recommended items. They are answered one after
    the other; where 16 are answered or wait, or 4 of one address, another one gets 503.
    """
    if len(request.requests) > settings.max_batch:
        raise ConfigError(f"{len(request.requests)} requests are more than FEDMEM_MAX_BATCH = {settings.max_batch}")
    if any(one.explain and one.user_id is not None for one in request.requests):
        demand(asked, Access.WRITE)
    for one in request.requests:
        check_size(settings, one.k)
    chosen = [await arrivals.of(model, dataset, one.user_id) for one in request.requests]
    questions = [_question(one, served) for one, served in zip(request.requests, chosen, strict=True)]
    work = sum(served.recommender.work(question) for served, question in zip(chosen, questions, strict=True))
    _check_work(settings, work, questions)
    links = links.naming(arrivals.served.to_name(chosen[0].dataset))
    arms = [_arm_of(arrivals.served, *pair) for pair in zip(chosen, questions, strict=True)]
    state = asked.app.state
    notes = [Notes(state.answers, state.impressions, arm) for arm in arms]
    with state.batch_places.slot(client_of(asked.scope)):
        charge(asked, max(work, UNIT * len(questions)))
        return await run_until_disconnected(asked, partial(_answer_batch, chosen, questions, links, notes))


def _check_work(settings: Settings, work: int, questions: Sequence[Question]) -> None:
    """Refuse a batch that is small to send and large to answer."""
    if work > settings.max_batch_items:
        items = sum(one.selection.end for one in questions)
        histories = f", and reading the histories is as much work as {work - items} more" if work > items else ""
        raise ConfigError(
            f"the answers would hold or skip {items} items{histories}; that is more than FEDMEM_MAX_BATCH_ITEMS = "
            f"{settings.max_batch_items}: ask for fewer at once"
        )


def _arm_of(served: ServedModels, model: ServedModel, question: Question) -> tuple[int, Arm] | None:
    return None if question.user_id is None else served.arm_of(model, question.user_id)


def _answer_batch(
    chosen: Sequence[ServedModel], questions: Sequence[Question], links: Links, notes: Sequence[Notes]
) -> Response:
    """Answer by the model of each: of two in an A/B test, first those of the one."""
    answers: dict[int, Recommendation] = {}
    for served in dict.fromkeys(chosen):
        places = [place for place, one in enumerate(chosen) if one is served]
        found = served.recommender.answer_many([questions[place] for place in places])
        answers.update(zip(places, found, strict=True))
    responses = (_response(answers[n], questions[n], links, notes[n]) for n in range(len(questions)))
    return as_json(BatchResponse(answers=tuple(responses)))


def check_size(settings: Settings, k: int) -> None:
    """Check that as many items may be asked for.

    Raises:
        ConfigError: naming the setting.
    """
    if k > settings.max_k:
        raise ConfigError(f"k = {k} is more than FEDMEM_MAX_K = {settings.max_k}")


def _question(request: RecommendationRequest, served: ServedModel) -> Question:
    if request.user_id is None:
        return Question(history=request.history, selection=request)
    return Question(request.user_id, since=served.new_interactions.of(request.user_id), selection=request)


def _response(answer: Recommendation, question: Question, links: Links, notes: Notes) -> RecommendationResponse:
    """Make the answer's body; one to a user has a name, and may be noted unless an operator had it explained."""
    notes.answers.count(answer.dataset, answer.strategy)
    if question.user_id is None:
        return answer.response(None, image_url=links.picture_of)
    name, following, arm = new_id(), None, notes.arm
    if notes.impressions is not None and not question.selection.explain:
        notes.impressions.offer(name, question.user_id, answer, None if arm is None else arm[0])
    fits = len(question.selection.exclude) <= MOST_EXCLUDED
    if answer.more and fits and question.selection.end <= MAX_OFFSET:
        following = _next_page(links, question.user_id, question.selection, answer.model_version)
    return answer.response(
        question.user_id, recommendation_id=name, arm=arm, next_page=following, image_url=links.picture_of
    )


def _next_page(links: Links, user_id: str, selection: Selection, version: str) -> str:
    given = {name: value for name, default in REPEATED.items() if (value := getattr(selection, name)) != default}
    words = {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}
    query = {"k": selection.k, "offset": selection.end, **words, "model": version}
    return links.path(f"/recommend/{quote(user_id, safe='')}", **query)


def as_json(response: Contract) -> Response:
    """Write an answer's body. It was checked when it was made; FastAPI would check it again."""
    return Response(response.__pydantic_serializer__.to_json(response), media_type="application/json")
