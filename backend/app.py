"""The FastAPI application."""

from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from fedmem import __version__
from fedmem.contracts import Problem, RecommendationResponse
from fedmem.serving import Recommender

MAX_K = 1000


def create_app(recommender: Recommender) -> FastAPI:
    """The application that answers from one loaded model."""
    app = FastAPI(
        title="FedMem",
        version=__version__,
        description="Recommendations from a federated model whose users keep their data.",
    )

    @app.get("/recommend/{user_id:path}", responses={422: {"model": Problem, "description": "A parameter is wrong."}})
    def recommend(
        user_id: Annotated[
            str, Path(min_length=1, description="A user id; someone unknown is served from the global memory.")
        ],
        k: Annotated[int, Query(ge=1, le=MAX_K, description="How many items.")] = 10,
    ) -> RecommendationResponse:
        """The k best items that the user has not seen, with titles and scores, and the strategy that found them."""
        user_id = user_id.removesuffix("/")
        return recommender.recommend(user_id, k).response(user_id)

    @app.get("/", include_in_schema=False)
    def documentation() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.get("/health/live")
    def live() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "live"}

    @app.exception_handler(RequestValidationError)
    def wrong_parameter(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _problem(422, f"{first['loc'][-1]} = {first['input']!r}: {first['msg']}")

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return _problem(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        return _problem(500, "something went wrong here; the log says what")

    return app


def _problem(status: int, detail: str) -> JSONResponse:
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(problem.model_dump(), status_code=status, media_type="application/problem+json")
