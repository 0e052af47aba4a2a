"""Decides the shape of a system's YAML file, and refuses what does not have it.

``load_document`` reads and checks a file; ``compile`` makes it callable. Everything here is
data: a file can say which request an action is and what its answer means, never compute.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from topstitch.connectors.declarative.positions import At, Text, load
from topstitch.foundation.timetext import parse_duration
from topstitch.model.action import Effect, Idempotency

Duration = Annotated[str, Field(pattern=r"^[0-9]+(s|m|h|d)$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
Scalar = str | int | float | bool | None
ABSENT_DEFAULT: Final = (404, 410)


class Strict(BaseModel):
    """Unknown words are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldType(StrEnum):
    """What a field may be."""

    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    BOOL = "bool"
    MONEY = "money"
    DATE = "date"
    TIME = "time"
    LIST = "list"
    MAP = "map"


class InputField(Strict):
    """One field of an input: ``{type: text, personal: true}``."""

    type: FieldType = FieldType.TEXT
    of: FieldType = FieldType.TEXT
    fields: dict[str, InputField] = {}
    optional: bool = False
    personal: bool = False
    secret: bool = False
    one_of: list[str] = []
    doc: str = ""


class OutputField(InputField):
    """One field of an output, and where in the answer it stands.

    ``from`` is a path (``data.items[].id``; the field's own name when left out), ``input`` takes
    a field of the input over, ``value`` is fixed, ``map`` translates the system's words.
    """

    fields: dict[str, OutputField] = {}  # type: ignore[assignment]
    from_: str | None = Field(None, alias="from")
    input: str | None = None
    value: Scalar = None
    map: dict[str, Scalar] = {}
    present: bool = False
    """True or false: whether there is anything at ``from``."""


class ErrorClass(StrEnum):
    """What an answer may mean."""

    OK = "ok"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    CHANGED = "changed"
    UNKNOWN = "unknown"
    CREDENTIAL = "credential"
    ABSENT = "absent"
    """A look-up or an undo: there is no such thing."""


class ErrorRule(Strict):
    """What an answer means. All conditions that are named must hold; the first rule that fits is taken."""

    status: int | list[int] | None = None
    code: str | None = None
    """Equals the text at ``code_path``."""
    contains: str | None = None
    """Stands somewhere in the body."""
    where: dict[str, Scalar] = {}
    """Path -> value."""
    class_: ErrorClass = Field(alias="class")
    wait_header: str = "Retry-After"
    message_path: str | None = None


class Auth(Strict):
    """How the system wants to know who asks; the names are those of the connection's credentials."""

    type: Literal["none", "bearer", "basic", "header", "oauth2"] = "none"
    credential: str = "token"
    username: str = "username"
    password: str = "password"  # noqa: S105 -- a credential's name
    header: str = "X-Api-Key"
    token_url: str = ""
    scope: str = ""
    client_in: Literal["header", "body"] = "body"


class Idempotent(Strict):
    """How a write is kept from happening twice, and where our key goes if not by ``{key}`` in the request."""

    class_: Idempotency = Field(alias="class")
    header: str | None = None
    body: str | None = None
    query: str | None = None


class Request(Strict):
    """One request. Texts may hold ``{input.x}``, ``{setting.x}``, ``{key}`` and ``{instance}``."""

    method: Method
    path: Annotated[str, Field(pattern=r"^/")]
    query: dict[str, Any] = {}
    headers: dict[str, str] = {}
    body: Any = None
    form: dict[str, str] = {}


class Pick(Strict):
    """The one row of a list that is meant: ``where`` is compared on the row itself, whatever the filter did."""

    rows: str
    where: dict[str, Any] = {}


class Paging(Strict):
    """How a list goes on: by ``next`` (path of an address), or ``cursor`` (path) sent back as ``param``, or offset."""

    rows: str
    next: str | None = None
    cursor: str | None = None
    param: str | None = None
    page_size: int | None = None
    pages_max: Annotated[int, Field(ge=1, le=1000)] = 100


class ActionText(Strict):
    """One action."""

    title: str = ""
    doc: str = ""
    effect: Effect
    idempotency: Idempotency | Idempotent | None = None
    lookup: Name | None = None
    undo: Name | None = None
    irreversible: str | None = None
    risk: Annotated[int, Field(ge=1, le=4)] = 1
    settle: Duration = "0s"
    timeout: Duration = "30s"
    input: dict[Name, InputField] | None = None
    request: Request
    pick: Pick | None = None
    paging: Paging | None = None
    output: dict[Name, OutputField] | None = None
    absent_when: list[int] | None = None
    """Statuses that mean "there is none": nothing for a look-up, done for a write."""
    found_when: list[int] = []
    """Statuses by which the system says that a write only found its thing."""
    record: str | None = None
    url: str | None = None
    errors: list[ErrorRule] = []

    @property
    def idempotency_class(self) -> Idempotency | None:
        """How a repeat is kept harmless."""
        return self.idempotency.class_ if isinstance(self.idempotency, Idempotent) else self.idempotency


class EventText(Strict):
    """One kind of notification: which ones it is (``where``), its identity, and the fields of its data."""

    title: str = ""
    doc: str = ""
    where: dict[str, Scalar] = {}
    id: str = "id"
    source: str = ""
    data: dict[Name, OutputField]


class Document(Strict):
    """The whole file."""

    system: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    version: Annotated[int, Field(ge=1)] = 1
    title: str = ""
    kind: str = ""
    base_url: str = ""
    auth: Auth = Auth()
    headers: dict[str, str] = {}
    settings: dict[Name, str] = {}
    """Settings that a connection may give, and what each is if it does not."""
    code_path: str | None = None
    message_path: str | None = None
    health: Name | None = None
    errors: list[ErrorRule] = []
    actions: dict[Name, ActionText]
    events: dict[Name, EventText] = {}


def load_document(path: Path) -> tuple[Document, Text]:
    """Read a system's file; raise ``OperatorError`` with file, line, column and remedy."""
    text = load(path)
    if not isinstance(text.value, dict):
        raise text.error((), "holds no map; start it with system: <name>")
    try:
        return Document.model_validate(text.value), text
    except ValidationError as error:
        found = error.errors()
        first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
        raise text.error(_at(first["loc"], text.value), _said(first)) from None


def seconds(duration: str) -> float:
    """Return a duration as seconds."""
    return float(parse_duration(duration))


def _at(loc: tuple[int | str, ...], value: Any) -> At:
    """Return the part of a pydantic location that exists in the file (it names union members too)."""
    at: list[int | str] = []
    for part in loc:
        if isinstance(part, int):
            if not isinstance(value, list) or part >= len(value):
                break
            at.append(part)
            value = value[part]
        elif isinstance(value, dict) and (part in value or part == loc[-1]):
            at.append(part)
            value = value.get(part)
    return tuple(at)


def _said(error: Any) -> str:
    match error["type"]:
        case "extra_forbidden":
            return "is not known here; remove it or correct its spelling"
        case "missing":
            return "is missing; add it"
        case _:
            return f"{error['msg'][:1].lower()}{error['msg'][1:]}; correct it"
