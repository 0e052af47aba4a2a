"""What the ServiceNow connector's actions take and return, in our words."""

from __future__ import annotations

from typing import Literal

from topstitch.connectors.contract import Model, MoneyText, PersonalText

RequestState = Literal["requested", "approved", "in_progress", "fulfilled", "cancelled"]
ExceptionState = Literal["open", "closed"]
Severity = Literal["low", "medium", "high"]


class PriceQuery(Model):
    """What equipment, and where."""

    tier: str
    location: str


class Price(Model):
    """What a tier costs and consists of."""

    total: MoneyText
    items: list[str]
    currency: str


class NewRequest(Model):
    """Equipment to order."""

    employee_id: str
    location: str
    department: str
    tier: str
    items: list[str]


class Requested(Model):
    """An order that was placed."""

    request_id: str
    number: str


class RequestRef(Model):
    """A request by id."""

    request_id: str


class CatalogRequest(Model):
    """A request as it is."""

    request_id: str
    number: str
    state: RequestState
    items: list[str]
    correlation_id: str


class Cancel(Model):
    """A request to cancel; ``update_asset`` also frees what was reserved for it."""

    request_id: str
    update_asset: bool | None = None


class Cancelled(Model):
    """The state of a request after it was cancelled."""

    request_id: str
    state: RequestState


class NewException(Model):
    """Something that is not as it should be."""

    process: str
    summary: PersonalText
    severity: Severity
    detail: str | None = None


class ExceptionFiled(Model):
    """The ticket of an exception."""

    exception_id: str
    number: str
    url: str | None = None


class ExceptionRef(Model):
    """A ticket by id."""

    exception_id: str


class CloseException(Model):
    """A ticket to close."""

    exception_id: str
    note: str | None = None


class ExceptionClosed(Model):
    """The state of a ticket after it was closed."""

    exception_id: str
    state: ExceptionState


class ExceptionTicket(Model):
    """A ticket as it is."""

    exception_id: str
    number: str
    state: ExceptionState
    summary: PersonalText
    severity: Severity


class IncidentP1Created(Model):
    """An incident of the highest priority was opened."""

    incident_id: str
    number: str
    summary: PersonalText
    opened_at: str
    caller: PersonalText | None = None
    assignment_group: str | None = None
