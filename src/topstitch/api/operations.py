"""Decides how an operation is declared: its rule, its key, what it answers, all in one line beside its endpoint.

The resources use it; the document of the API, the reference page and the tests read what it wrote down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel

from topstitch.access.guard import needs
from topstitch.api.answers import LIMIT_DEFAULT, LIMIT_MAX
from topstitch.api.guard import NEEDED, Guarded
from topstitch.api.shapes import Resource

Endpoint = Callable[..., Awaitable[Response]]
Declare = Callable[[Endpoint], Endpoint]
RIGHT: Final = "x-right"
COMMAND: Final = "x-command"

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="At most so many items.")]
After = Annotated[str | None, Query(max_length=200, description="The next of the page before.", pattern=r"^[^\x00]+$")]
Count = Annotated[str | None, Query(pattern="^exact$", description="exact: say how many match in all.")]
Search = Annotated[
    str,
    Query(max_length=500, description="A search, such as state:waiting workflow:employee-onboarding older:2h."),
]
Id = Annotated[str, Path(max_length=200, pattern=r"^[^/\x00]+$", description="Its id.")]
PAGE: Final = LIMIT_DEFAULT


def router(tag: str) -> APIRouter:
    """Return a router whose routes are guarded."""
    return APIRouter(route_class=Guarded, tags=[tag])


def operation(
    where: APIRouter,
    method: str,
    path: str,
    rule: str,
    *,
    shape: type[BaseModel] = Resource,
    status: int = 200,
    key: str | None = None,
    command: str | None = None,
    media: tuple[str, ...] = (),
    match: bool = False,
) -> Declare:
    """Declare an operation.

    ``rule`` is a right; ``key`` says whether an ``Idempotency-Key`` is ``required`` or ``optional``;
    ``command`` is how the command line says the same; ``match`` asks for ``If-Match``.
    """

    def declare(endpoint: Endpoint) -> Endpoint:
        extra: dict[str, Any] = {RIGHT: rule}
        if key is not None:
            extra[NEEDED] = key
        if command is not None:
            extra[COMMAND] = command
        if match:
            extra["x-if-match"] = True
        texts = {each: {"schema": {"type": "string"}} for each in media}
        content: dict[str, Any] = {"content": texts} if media else {"model": shape}
        description = (endpoint.__doc__ or "").strip()
        where.add_api_route(
            path,
            needs(rule)(endpoint),
            methods=[method],
            summary=description.splitlines()[0].rstrip("."),
            description=description,
            response_model=None,
            status_code=status,
            responses={status: {"description": "Done.", **content}},
            openapi_extra=extra,
            name=endpoint.__name__,
        )
        return endpoint

    return declare
