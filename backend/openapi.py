"""The OpenAPI document: tags, the key, and which problems a route may answer with."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from backend.errors import PROBLEM_JSON
from fedmem.contracts import Problem

TAGS = [
    {"name": "recommendations", "description": "What a user may like, and why."},
    {"name": "items", "description": "The catalogue of the data set that the model in service was trained on."},
    {"name": "users", "description": "Interactions as they happen, their export and their deletion."},
    {"name": "jobs", "description": "Training that can be started, watched, paused, resumed and stopped."},
    {"name": "schedules", "description": "Jobs that are queued again and again, to go on with the newest data."},
    {"name": "models", "description": "Versions that jobs have left, and which one is in service."},
    {"name": "memory", "description": "The global abstract memory: prototypes of the clients', and what follows what."},
    {"name": "experiments", "description": "What `fedmem ablate` and `fedmem tune` have found."},
    {"name": "online", "description": "What became of the answers: how many led to a click, and to more."},
    {"name": "operations", "description": "Data sets, trainers, health and metrics."},
]
MEANING = {
    400: "The body cannot be read.",
    401: "The header `X-API-Key` is missing or wrong.",
    403: "The key may not do this.",
    404: "What the request names is not there.",
    409: "The request does not fit the present state.",
    413: "The body is too long.",
    422: "A parameter or the body is wrong; the detail names what.",
    429: "Too many requests; the header `Retry-After` says when to come back.",
    500: "Something went wrong inside; the log has it under the request id.",
    503: "The database or the model cannot be used at present.",
}
ALWAYS = (401, 403, 422, 429, 500)  # reading needs a key where there is one for it; an unknown parameter is a 422

Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Responses:
    """Document the problems that a route may answer with, besides those that every route may."""
    return {status: {"model": Problem, "description": MEANING[status]} for status in sorted({*ALWAYS, *statuses})}


def operation_id(route: APIRoute) -> str:
    """Use the function's name, because a generated client makes its method's name of it."""
    return route.name


def document(app: FastAPI, root_path: str = "") -> dict[str, Any]:
    """Write the document, once: FastAPI's, with problems under their own media type."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
            servers=[{"url": root_path}] if root_path else None,
        )
        for operations in made["paths"].values():
            for operation in operations.values():
                _describe_problems(operation["responses"])
        app.openapi_schema = made
    return app.openapi_schema


def _describe_problems(responses: dict[str, Any]) -> None:
    for status in responses:
        if status >= "400":
            responses[status]["content"] = {
                PROBLEM_JSON: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}
            }
