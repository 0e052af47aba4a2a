"""Decides what the document of the API (OpenAPI 3.1) says beside what FastAPI finds out.

Every operation names its right, its key, and the one shape that errors have; events and webhooks coming
in, which are served elsewhere for speed, are described too. The reference page and the snapshot in the
tests are made from it.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from topstitch.api.guard import KEY, NEEDED, REPLAYED
from topstitch.api.operations import RIGHT
from topstitch.api.shapes import Problem
from topstitch.governance.access import PUBLIC

PROBLEM: Final = "application/problem+json"
ABOUT: Final = (
    "Everything the console shows and does, for programs. JSON in snake_case; times in RFC 3339 UTC, durations in "
    "*_ms; lists as {items, next}; errors as problem documents (RFC 9457). Clients ignore fields and values they do "
    "not know: within v1 things are only added."
)
TAGS: Final = {
    "events": "Events in: what starts instances, and what they wait for.",
    "instances": "One carrying-out of a definition each: found, looked at, acted on.",
    "streams": "What happens, as it happens (server-sent events).",
    "waiting": "What waits for people: approvals, tasks, exceptions, discrepancies.",
    "workflows": "Definitions, their versions, drafts and publishing.",
    "connectors": "The connections to business systems.",
    "policies": "The rules that release writes or ask people.",
    "seams": "Where work passes between systems, and how long it lies there.",
    "audit": "The records, and proof that none was changed.",
    "batches": "One act on many instances, previewed and frozen.",
    "webhooks": "Webhooks going out.",
    "people": "Who asks, and who may ask.",
    "meta": "What the API says of itself.",
}


def document_of(app: FastAPI) -> dict[str, Any]:
    """Return the document; it is made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title="Topstitch",
            version="1",
            description=ABOUT,
            routes=app.routes,
            tags=[{"name": name, "description": text} for name, text in TAGS.items()],
            servers=[{"url": "/api/v1"}],
        )
        app.openapi_schema = _completed(made)
    return app.openapi_schema


def _completed(made: dict[str, Any]) -> dict[str, Any]:
    schemas = made["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    made["components"]["responses"] = {"Problem": _problem()}
    made["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "An API token: topstitch_pat_..."}
    }
    made["paths"] = {**_EVENTS, **made["paths"]}
    for path in made["paths"].values():
        for operation in path.values():
            _complete(operation)
    return made


def _complete(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    responses["default"] = {"$ref": "#/components/responses/Problem"}
    if operation.get(RIGHT, PUBLIC) != PUBLIC:
        operation["security"] = [{"token": []}]
    parameters = operation.setdefault("parameters", [])
    if NEEDED in operation:
        required = operation[NEEDED] == "required"
        parameters.append(_header(KEY, "A fresh value such as a UUID: the same request again gets the first answer.",
                                  required=required))  # fmt: skip
        for status, response in responses.items():
            if status.isdigit():
                response.setdefault("headers", {})[REPLAYED] = {"schema": {"type": "string"}}
    if operation.get("x-if-match"):
        parameters.append(_header("If-Match", "The ETag of what was looked at.", required=True))
    if not parameters:
        del operation["parameters"]


def _header(name: str, description: str, *, required: bool) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": 255}
    return {"name": name, "in": "header", "required": required, "description": description, "schema": schema}


def _problem() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": "What went wrong, and the remedy.", "content": {PROBLEM: {"schema": schema}}}


_EVENTS: Final[dict[str, Any]] = {
    "/events": {
        "post": {
            "tags": ["events"],
            "operationId": "send_events",
            "summary": "Send an event",
            "description": (
                "Take one CloudEvent 1.0 (structured or binary), or a batch. A new event is answered 202 with what it "
                "started; the same source and id again, whenever, 200 with the first outcome."
            ),
            "x-command": "topstitch trigger EVENT --field NAME=VALUE",
            "requestBody": {
                "required": True,
                "content": {
                    "application/cloudevents+json": {
                        "schema": {
                            "type": "object",
                            "required": ["specversion", "id", "source", "type"],
                            "properties": {
                                "specversion": {"const": "1.0"},
                                "id": {"type": "string", "minLength": 1},
                                "source": {"type": "string", "minLength": 1},
                                "type": {"type": "string", "minLength": 1},
                                "time": {"type": "string", "format": "date-time"},
                                "data": {"type": "object"},
                            },
                        },
                        "example": {
                            "specversion": "1.0",
                            "id": "hire-104233",
                            "source": "/hr",
                            "type": "workday.hire_completed",
                            "data": {"employee_id": "W-104233"},
                        },
                    }
                },
            },
            "responses": {
                "202": {"description": "It is new.", "content": {"application/json": {"schema": {"type": "object"}}}},
                "200": {"description": "It is known.", "content": {"application/json": {"schema": {"type": "object"}}}},
                "207": {
                    "description": "A batch of which some were refused.",
                    "content": {"application/json": {"schema": {"type": "object"}}},
                },
            },
        }
    }
}
