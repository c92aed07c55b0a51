"""How a route reads its query: what it does not know is refused, and, where it matters, all is read at once.

FastAPI passes over parameters that a route does not have, so that ``?kk=3`` would be answered with ten items.
"""

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from difflib import get_close_matches
from itertools import zip_longest
from typing import Any, get_args, get_origin
from urllib.parse import unquote

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.datastructures import QueryParams
from starlette.routing import Match
from starlette.types import Scope

from backend.wrong_request import SHOWN


class IdConvertor(PathConvertor):
    """``{user_id:id}``: the rest of a path, whatever is in it; of ``path``, a newline would be the end."""

    regex = "(?s:.*)"


register_url_convertor("id", IdConvertor())

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class KnownQueryRoute(APIRoute):
    """Refuses parameters that neither the endpoint nor its dependencies take.

    It also tells ``/items/a%2Fsimilar``, the item "a/similar", from what is similar to the item "a": the server hands
    on a path in which both are the same, and beside it the path as it was sent.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Do as Starlette's, but what follows the last parameter must have been sent as a part of the path's own."""
        match, child = super().matches(scope)
        if match is not Match.NONE and not _ends_as_sent(self.path_format, scope.get("raw_path")):
            return Match.NONE, {}
        return match, child

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's own handler in a check of the parameters' names."""
        known, answer = frozenset(parameters(self.dependant)), super().get_route_handler()

        async def handler(request: Request) -> Response:
            if wrong := unknown(request.query_params, known):
                raise RequestValidationError(wrong)
            return await answer(request)

        return handler


def _ends_as_sent(template: str, sent: bytes | None) -> bool:
    ending = template.rpartition("}/")[2]
    return sent is None or ending == template or unquote(sent.rpartition(b"/")[2].decode("latin-1")) == ending


class QueryRoute(APIRoute):
    """For an async endpoint ``(request, one path parameter, one model as Query())`` that returns a Response.

    FastAPI reads parameter by parameter and looks at the type of each anew with every request: for ten of them that
    takes as long as to find the best items for a user. Here one model reads them all. The route is documented from its
    signature like any other, and what is wrong with a request is told in the same words.
    """

    def get_route_handler(self) -> Handler:
        """Make what is called instead of FastAPI's own reading of requests."""
        (in_path,), (in_query,) = self.dependant.path_params, self.dependant.query_params
        name, endpoint, model = in_path.name, self.endpoint, in_query.field_info.annotation
        lists, known = list_fields(model), frozenset(fields_of(model))

        async def handler(request: Request) -> Response:
            value, wrong = in_path.validate(request.path_params[name], {}, loc=("path", name))
            values = given(request.query_params, lists)
            query, also_wrong = in_query.validate(values, {}, loc=("query",))
            if problems := [*unknown(values, known), *wrong, *also_wrong]:
                raise RequestValidationError(problems)
            answer: Response = await endpoint(request, value, query)
            return answer

        return handler


def parameters(dependant: Dependant) -> Iterable[str]:
    """List the names of all that an endpoint and its dependencies read of the query."""
    yield from (field.alias for field in dependant.query_params)
    for further in dependant.dependencies:
        yield from parameters(further)


def unknown(query: Mapping[str, Any], known: Collection[str]) -> list[dict[str, Any]]:
    """Make an error, in FastAPI's form, for each unknown parameter; those that are told have the nearest names."""
    names = [name for name in query if name not in known]
    told = [_no_such(name, known) for name in names[:SHOWN]]
    return [
        {"type": "unknown_parameter", "loc": ("query", name), "msg": message, "input": query[name]}
        for name, message in zip_longest(names, told, fillvalue="")
    ]


def _no_such(name: str, known: Collection[str]) -> str:
    if close := get_close_matches(name, known, n=1):
        return f"there is no such parameter (did you mean {close[0]!r}?)"
    there_are = ", ".join(sorted(known)) or "none"
    return f"there is no such parameter; there are: {there_are}"


def fields_of(model: Any) -> dict[str, FieldInfo]:
    """List the parameters that a model reads."""
    assert isinstance(model, type), "a query is read by one model"
    assert issubclass(model, BaseModel), "a query is read by one model"
    fields: dict[str, FieldInfo] = model.model_fields
    return fields


def list_fields(model: Any) -> frozenset[str]:
    """Find the parameters that may be repeated; of others the last one given counts."""
    types = {name: field.annotation for name, field in fields_of(model).items()}
    return frozenset(
        name for name, one in types.items() if any(get_origin(part) in (list, tuple) for part in (one, *get_args(one)))
    )


def given(query: QueryParams, lists: frozenset[str]) -> dict[str, Any]:
    """Read the parameters as the model takes them."""
    values: dict[str, Any] = dict(query.multi_items())
    for name in lists & values.keys():
        values[name] = query.getlist(name)
    return values
