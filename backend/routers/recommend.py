"""Recommendations. The handlers touch no database; what computes for long does so in one of a few threads."""

from dataclasses import replace
from typing import Annotated
from urllib.parse import quote, urlencode

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from backend.dependencies import Computing, CurrentSettings, Served
from backend.images import image_url
from backend.openapi import problems
from backend.query_route import KnownQueryRoute, QueryRoute
from backend.served_model import ServedModel
from backend.settings import Settings
from fedmem.contracts import (
    BatchRequest,
    BatchResponse,
    RecommendationRequest,
    RecommendationResponse,
)
from fedmem.contracts.contract import PRINTABLE, Contract
from fedmem.contracts.recommendations import AGAIN, MAX_K, MAX_OFFSET, WITH_MEMORY, BatchQuestion, ItemId
from fedmem.errors import ConfigError, UnknownUserError
from fedmem.serving import Question, Recommendation

router = APIRouter(tags=["recommendations"], route_class=KnownQueryRoute)

UserId = Annotated[
    str,
    Path(
        max_length=512,
        pattern=PRINTABLE,
        description="A user's id. Somebody unknown is answered from the global memory.",
        examples=["u001"],
    ),
]
WHICH_VERSION = "A version in memory; default the one in service."
Version = Annotated[str | None, Query(max_length=255, pattern=PRINTABLE, description=WHICH_VERSION)]
WHICH_DATASET = "The data set that is meant: a model of another one does not answer (409). Default: whichever it is."
OfDataset = Annotated[str | None, Query(max_length=255, pattern=PRINTABLE, description=WHICH_DATASET)]


class KnownUserQuery(BaseModel):
    """The parameters of ``GET /recommend/{user_id}``."""

    k: int = Field(10, ge=1, le=MAX_K, description="How many items.")
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="How many of the best to skip.")
    category: str | None = Field(None, max_length=200, description="Only items of this genre.")
    exclude: list[ItemId] | None = Field(None, max_length=1000, description="Not these items; repeatable.")
    include_seen: bool | None = Field(None, description=AGAIN)
    explain: bool = Field(False, description="Whether every score comes with its parts.")
    memory: bool = Field(True, description=WITH_MEMORY)
    model: str | None = Field(None, max_length=255, pattern=PRINTABLE, description=WHICH_VERSION)
    dataset: str | None = Field(None, max_length=255, pattern=PRINTABLE, description=WHICH_DATASET)
    strict: bool = Field(False, description="Whether somebody unknown is a 404.")


async def recommend(request: Request, user_id: UserId, asked: Annotated[KnownUserQuery, Query()]) -> Response:
    """The best items that the user has not seen, with titles and scores, and where the answer comes from.

    `next` is the path of the following page, from the same model: pages of one list are disjoint.
    """
    state = request.app.state
    check_size(state.settings, asked.k)
    served: ServedModel = state.served.of(asked.model, asked.dataset)
    if asked.strict and not served.knows(user_id):
        raise UnknownUserError(f"nothing is known of a user {user_id!r}; with strict=false a new user is answered")
    question = Question(
        user_id=user_id,
        since=served.news.of(user_id),
        k=asked.k,
        offset=asked.offset,
        category=asked.category,
        exclude=asked.exclude or (),
        include_seen=asked.include_seen,
        explain=asked.explain,
        reads_memory=asked.memory,
    )
    understood = served.recommender.ask(question)
    if understood.takes_long:
        answer = await run_sync(served.recommender.answer_to, understood, limiter=state.computing)
    else:
        answer = served.recommender.answer_to(understood)
    following = _next_page(user_id, question, answer.model_version) if answer.more else None
    return as_json(_response(answer, user_id, following))


router.add_api_route(
    "/recommend/{user_id:path}",
    recommend,
    methods=["GET"],
    response_model=RecommendationResponse,
    responses=problems(404, 409, 503),
    route_class_override=QueryRoute,
)


@router.post("/recommend", response_model=RecommendationResponse, responses=problems(400, 404, 409, 413, 503))
async def recommend_for_history(
    request: RecommendationRequest,
    served: Served,
    settings: CurrentSettings,
    computing: Computing,
    model: Version = None,
    dataset: OfDataset = None,
) -> Response:
    """For a history that is sent along: nothing of it is stored, and no log names it."""
    check_size(settings, request.k)
    return await run_sync(_answer_history, served.of(model, dataset), request, limiter=computing)


def _answer_history(served: ServedModel, asked: RecommendationRequest) -> Response:
    return as_json(_response(served.recommender.answer(_question(asked)), None, None))


@router.post("/recommend/batch", response_model=BatchResponse, responses=problems(400, 404, 409, 413, 503))
async def recommend_batch(
    request: BatchRequest,
    served: Served,
    settings: CurrentSettings,
    computing: Computing,
    model: Version = None,
    dataset: OfDataset = None,
) -> Response:
    """Many at once, of known users and of histories; each is what it would be alone, and nothing is stored."""
    if len(request.requests) > settings.max_batch:
        raise ConfigError(f"{len(request.requests)} requests are more than FEDMEM_MAX_BATCH = {settings.max_batch}")
    for asked in request.requests:
        check_size(settings, asked.k)
    return await run_sync(_answer_batch, served.of(model, dataset), request, limiter=computing)


def _answer_batch(served: ServedModel, request: BatchRequest) -> Response:
    questions = [_question_of(asked, served) for asked in request.requests]
    answers = served.recommender.answer_many(questions)
    following = [
        _next_page(q.user_id, q, a.model_version) if a.more and q.user_id is not None else None
        for q, a in zip(questions, answers, strict=True)
    ]
    responses = tuple(
        _response(answer, question.user_id, page)
        for answer, question, page in zip(answers, questions, following, strict=True)
    )
    return as_json(BatchResponse(answers=responses))


def check_size(settings: Settings, k: int) -> None:
    """Whether as many items may be asked for.

    Raises:
        ConfigError: naming the setting.
    """
    if k > settings.max_k:
        raise ConfigError(f"k = {k} is more than FEDMEM_MAX_K = {settings.max_k}")


def _question(asked: RecommendationRequest) -> Question:
    return Question(
        history=asked.history,
        k=asked.k,
        offset=asked.offset,
        category=asked.category,
        exclude=asked.exclude,
        include_seen=asked.include_seen,
        explain=asked.explain,
        reads_memory=asked.memory,
    )


def _question_of(asked: BatchQuestion, served: ServedModel) -> Question:
    if asked.user_id is None:
        return _question(asked)
    return replace(_question(asked), user_id=asked.user_id, history=None, since=served.news.of(asked.user_id))


def _next_page(user_id: str, question: Question, version: str) -> str | None:
    following = question.offset + question.k
    if following > MAX_OFFSET:
        return None
    more: dict[str, object] = {"explain": "true"} if question.explain else {}
    if question.include_seen is not None:
        more["include_seen"] = str(question.include_seen).lower()
    if not question.reads_memory:
        more["memory"] = "false"
    if question.category is not None:
        more["category"] = question.category
    if question.exclude:
        more["exclude"] = question.exclude
    others = f"&{urlencode(more, doseq=True)}" if more else ""
    path = f"/recommend/{quote(user_id, safe='')}"
    return f"{path}?k={question.k}&offset={following}{others}&model={quote(version, safe='')}"


def _response(answer: Recommendation, user_id: str | None, following: str | None) -> RecommendationResponse:
    return answer.response(
        user_id, next_page=following, image_url=lambda item: image_url(item.item_id, item.image_path)
    )


def as_json(response: Contract) -> Response:
    """An answer's body. It was checked when it was made; FastAPI would check it again."""
    return Response(response.__pydantic_serializer__.to_json(response), media_type="application/json")
