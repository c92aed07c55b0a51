"""A route whose query is read at once, by one model.

FastAPI reads parameter by parameter and looks at the type of each anew with every request: for ten of them that takes
as long as to find the best items for a user.
"""

from collections.abc import Callable, Coroutine
from typing import Any, get_args, get_origin

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import QueryParams


class QueryRoute(APIRoute):
    """For an async endpoint ``(request, one path parameter, one model as Query())`` that returns a Response.

    It is documented from its signature like any other, and what is wrong with a request is told in the same words.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What is called instead of FastAPI's own reading of requests."""
        (in_path,), (in_query,) = self.dependant.path_params, self.dependant.query_params
        name, endpoint = in_path.name, self.endpoint
        lists = list_fields(in_query.field_info.annotation)

        async def handler(request: Request) -> Response:
            value, wrong = in_path.validate(request.path_params[name], {}, loc=("path", name))
            query, also_wrong = in_query.validate(given(request.query_params, lists), {}, loc=("query",))
            if wrong or also_wrong:
                raise RequestValidationError([*wrong, *also_wrong])
            answer: Response = await endpoint(request, value, query)
            return answer

        return handler


def list_fields(model: Any) -> frozenset[str]:
    """The fields whose parameter may be repeated; of others the last one given counts."""
    assert isinstance(model, type), "a query is read by one model"
    assert issubclass(model, BaseModel), "a query is read by one model"
    types = {name: field.annotation for name, field in model.model_fields.items()}
    return frozenset(
        name for name, one in types.items() if any(get_origin(part) is list for part in (one, *get_args(one)))
    )


def given(query: QueryParams, lists: frozenset[str]) -> dict[str, Any]:
    """The parameters as the model takes them."""
    values: dict[str, Any] = dict(query.multi_items())
    for name in lists & values.keys():
        values[name] = query.getlist(name)
    return values
