"""The ServiceNow connector: equipment by the catalog, exceptions as incidents.

An order carries our key in the hidden catalog variable ``topstitch_key``, which the instance
copies to ``correlation_id``; an incident carries it in ``correlation_id`` itself. The cart
belongs to the connection's account, so orders of one connection are placed one after the
other and what is in the cart is compared before it is submitted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from topstitch.connectors.contract import (
    CallContext,
    Connector,
    Done,
    Given,
    NormalisedEvent,
    read,
    write,
)
from topstitch.connectors.http import segment
from topstitch.connectors.servicenow.models import (
    Cancel,
    Cancelled,
    CatalogRequest,
    CloseException,
    ExceptionClosed,
    ExceptionFiled,
    ExceptionRef,
    ExceptionState,
    ExceptionTicket,
    IncidentP1Created,
    NewException,
    NewRequest,
    Price,
    PriceQuery,
    Requested,
    RequestRef,
    RequestState,
    Severity,
)
from topstitch.connectors.servicenow.tables import TITLE, Tables
from topstitch.foundation.errors import PermanentError, RequestError, TransientError
from topstitch.model.action import Idempotency

CATEGORY: Final = "equipment"
KEY_VARIABLE: Final = "topstitch_key"
REQUEST_STATES: Final[Mapping[str, RequestState]] = {
    "requested": "requested",
    "approved": "approved",
    "in_process": "in_progress",
    "closed_complete": "fulfilled",
    "closed_incomplete": "cancelled",
    "closed_cancelled": "cancelled",
    "closed_rejected": "cancelled",
}
CLOSED_INCIDENT: Final = ("6", "7", "8")
IN_PROGRESS, CLOSED = "2", "7"
IMPACT: Final[Mapping[Severity, str]] = {"high": "1", "medium": "2", "low": "3"}
SEVERITY: Final[Mapping[str, Severity]] = {value: name for name, value in IMPACT.items()}
IN_STOCK: Final = {"install_status": "6", "substatus": "available", "assigned_to": ""}
INCIDENT_FIELDS: Final = "sys_id,number,state,short_description,impact,correlation_id"


class ServiceNow(Connector):
    """ServiceNow."""

    name = "servicenow"
    major = 1
    title = TITLE
    kind = "ITSM"
    events: Mapping[str, type[IncidentP1Created]] = {"incident_p1_created": IncidentP1Created}  # type: ignore[misc]
    option_names = ("assignment_group", "category")

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self._tables = Tables(given)
        self._cart = asyncio.Lock()

    @read()
    async def price_equipment(self, query: PriceQuery, call: CallContext) -> Price:
        """The equipment of a tier and what it costs together."""
        items = await self._items(query.tier, call)
        currencies = {item.get("currency") or "USD" for item in items}
        if len(currencies) != 1:
            raise PermanentError(
                "several_currencies", f"tier {query.tier} is priced in {sorted(currencies)}; use one of them"
            )
        total = sum((_amount(item["price"]) for item in items), Decimal(0))
        currency = currencies.pop()
        return Price(total=f"{total:.2f} {currency}", items=[item["name"] for item in items], currency=currency)

    @write(
        idempotency=Idempotency.FIND_FIRST,
        lookup="find_request",
        undo="cancel_request",
        risk_floor=2,
        settle="10s",
        timeout="60s",
    )
    async def create_catalog_request(self, wanted: NewRequest, call: CallContext) -> Done[Requested]:
        """Order equipment: one request with a line for each item."""
        known = {item["name"]: item["sys_id"] for item in await self._items(wanted.tier, call)}
        missing = [name for name in wanted.items if name not in known]
        if missing or not wanted.items:
            raise PermanentError(
                "item_unknown", f"{TITLE} offers no {', '.join(missing) or 'items'}; correct items or the catalog"
            )
        person = await self._tables.one("sys_user", call, "sys_id,employee_number", employee_number=wanted.employee_id)
        variables = {
            "employee_id": wanted.employee_id,
            "location": wanted.location,
            "department": wanted.department,
            "tier": wanted.tier,
            "short_description": f"{wanted.tier} equipment for {wanted.employee_id}",
            KEY_VARIABLE: call.key,
        }
        async with self._cart:
            return await self._order(wanted, known, variables, person, call)

    @read()
    async def find_request(self, wanted: NewRequest, call: CallContext) -> Done[Requested] | None:  # noqa: ARG002
        """The request that carries our key."""
        row = await self._tables.one("sc_request", call, "sys_id,number,correlation_id", correlation_id=call.key)
        return None if row is None else self._requested(row["sys_id"], row["number"])

    @read()
    async def get_request(self, ref: RequestRef, call: CallContext) -> Done[CatalogRequest]:
        """A request with its state and items."""
        row = await self._request(ref.request_id, call)
        if row is None:
            raise PermanentError("not_found", f"{TITLE} has no request {ref.request_id}; check the id", status=404)
        lines = await self._tables.find("sc_req_item", call, "sys_id,request,short_description", request=row["sys_id"])
        shown = CatalogRequest(
            request_id=row["sys_id"],
            number=row["number"],
            state=REQUEST_STATES[row["request_state"]],
            items=[line["short_description"] for line in lines],
            correlation_id=row.get("correlation_id") or "",
        )
        return Done(shown, record=row["sys_id"], url=self._link("sc_request", row["sys_id"]))

    @write(idempotency=Idempotency.NATURAL, irreversible="a cancelled request is ordered again", risk_floor=2)
    async def cancel_request(self, ref: Cancel, call: CallContext) -> Done[Cancelled]:
        """Cancel a request; one that is gone or cancelled already is as good. A delivered one cannot be cancelled."""
        cancelled = Cancelled(request_id=ref.request_id, state="cancelled")
        row = await self._request(ref.request_id, call)
        if row is None:
            return Done(cancelled, found=call.first, record=ref.request_id)
        state = REQUEST_STATES[row["request_state"]]
        if state == "fulfilled":
            raise PermanentError(
                "already_fulfilled", f"{TITLE} has delivered {row['number']}; arrange its return by hand"
            )
        if state != "cancelled":
            await self._tables.update(
                "sc_request", row["sys_id"], call, {"request_state": "closed_cancelled", "state": "4"}
            )
        if ref.update_asset:
            await self._free_assets(row["sys_id"], call)
        found = state == "cancelled" and call.first
        return Done(cancelled, found=found, record=row["sys_id"], url=self._link("sc_request", row["sys_id"]))

    @write(idempotency=Idempotency.NATIVE_KEY, lookup="find_exception", undo="close_exception")
    async def create_exception(self, new: NewException, call: CallContext) -> Done[ExceptionFiled]:
        """File an exception as an incident. The same one again updates its ticket, and opens it if it was closed."""
        row = await self._tables.one("incident", call, INCIDENT_FIELDS, correlation_id=call.key)
        if row is None:
            row = await self._tables.insert("incident", call, self._incident(new, call))
        else:
            change = {"work_notes": _note(new), "impact": IMPACT[new.severity], "urgency": IMPACT[new.severity]}
            if row["state"] in CLOSED_INCIDENT:
                change["state"] = IN_PROGRESS
            await self._tables.update("incident", row["sys_id"], call, change)
        return self._filed(row)

    @read()
    async def find_exception(self, new: NewException, call: CallContext) -> Done[ExceptionFiled] | None:  # noqa: ARG002
        """The incident that carries our key."""
        row = await self._tables.one("incident", call, INCIDENT_FIELDS, correlation_id=call.key)
        return None if row is None else self._filed(row)

    @write(idempotency=Idempotency.NATURAL, irreversible="the same exception again opens its ticket again")
    async def close_exception(self, ref: CloseException, call: CallContext) -> Done[ExceptionClosed]:
        """Close an exception's ticket; one that is gone or closed already is as good."""
        row = await self._tables.row("incident", ref.exception_id, call, INCIDENT_FIELDS)
        closed = ExceptionClosed(exception_id=ref.exception_id, state="closed")
        if row is None or row["state"] in CLOSED_INCIDENT:
            return Done(closed, found=call.first, record=ref.exception_id)
        note = ref.note or "Closed by Topstitch."
        change = {"state": CLOSED, "close_code": "Solved (Permanently)", "close_notes": note}
        await self._tables.update("incident", row["sys_id"], call, change)
        return Done(closed, record=row["sys_id"], url=self._link("incident", row["sys_id"]))

    @read()
    async def get_exception(self, ref: ExceptionRef, call: CallContext) -> Done[ExceptionTicket]:
        """An exception's ticket."""
        row = await self._tables.row("incident", ref.exception_id, call, INCIDENT_FIELDS)
        if row is None:
            raise PermanentError("not_found", f"{TITLE} has no incident {ref.exception_id}; check the id", status=404)
        state: ExceptionState = "closed" if row["state"] in CLOSED_INCIDENT else "open"
        shown = ExceptionTicket(
            exception_id=row["sys_id"],
            number=row["number"],
            state=state,
            summary=row["short_description"],
            severity=SEVERITY.get(row.get("impact") or "", "low"),
        )
        return Done(shown, record=row["sys_id"], url=self._link("incident", row["sys_id"]))

    def normalise_event(self, name: str, raw: Mapping[str, Any]) -> NormalisedEvent:  # noqa: ARG002 -- the body says it
        """Read the notification that a business rule on ``incident`` posts: ``{"id", "table", "record": {...}}``."""
        record = raw.get("record")
        if not isinstance(record, Mapping) or raw.get("table", "incident") != "incident":
            raise RequestError(
                "event_invalid", "the notification carries no incident under record; correct the business rule"
            )
        if str(record.get("priority")) != "1":
            raise RequestError(
                "event_unknown", "only incidents of priority 1 are events; correct the business rule's condition"
            )
        fields = {
            "incident_id": record.get("sys_id"),
            "number": record.get("number"),
            "summary": record.get("short_description"),
            "opened_at": record.get("opened_at"),
            "caller": record.get("caller") or None,
            "assignment_group": record.get("assignment_group") or None,
        }
        missing = [
            name for name in ("incident_id", "number", "summary", "opened_at") if not isinstance(fields[name], str)
        ]
        if missing:
            raise RequestError(
                "event_invalid", f"{missing[0]} is missing in the incident; add its column to the business rule"
            )
        identity = str(raw.get("id") or f"{fields['incident_id']}/p1")
        instance = raw.get("instance") or self.given.alias
        data = {name: value for name, value in fields.items() if value is not None}
        return NormalisedEvent("incident_p1_created", identity, f"servicenow:{instance}", data)

    async def health(self) -> Mapping[str, Any]:
        """Read one row."""
        call = CallContext(timeout_seconds=self.given.timeout_seconds)
        await self._tables.http.get(
            "/api/now/table/sys_user", call, query={"sysparm_limit": "1", "sysparm_fields": "sys_id"}
        )
        return {"ok": True}

    async def close(self) -> None:
        """Close the session."""
        await self._tables.http.close()

    async def _items(self, tier: str, call: CallContext) -> list[dict[str, Any]]:
        """Return what the catalog offers for a tier."""
        category = self.given.option("category", CATEGORY)
        items = await self._tables.catalog("GET", "/items", call, sysparm_category=category, sysparm_limit="200")
        found = [item for item in items if item.get("tier") == tier and item.get("category", category) == category]
        if not found:
            raise PermanentError(
                "tier_unknown", f"{TITLE} offers no equipment of tier {tier}; correct the tier or the catalog"
            )
        return found

    async def _order(
        self,
        wanted: NewRequest,
        known: Mapping[str, str],
        variables: Mapping[str, str],
        person: Mapping[str, Any] | None,
        call: CallContext,
    ) -> Done[Requested]:
        """Fill the cart anew and submit it. Only the submission leaves anything that counts."""
        await self._tables.catalog("DELETE", "/cart/empty", call)
        for name in wanted.items:
            body = {"sysparm_quantity": "1", "variables": variables}
            await self._tables.catalog("POST", f"/items/{segment(known[name])}/add_to_cart", call, body)
        cart = await self._tables.catalog("GET", "/cart", call)
        if sorted(item["name"] for item in cart["items"]) != sorted(wanted.items):
            raise TransientError(
                "cart_shared",
                f"somebody else used the cart of {TITLE}'s account; it is tried again, or give us our own account",
            )
        order = {"sysparm_requested_for": person["sys_id"] if person else ""}
        placed = await self._tables.catalog("POST", "/cart/submit_order", call, order)
        return self._requested(placed["request_id"], placed["request_number"])

    async def _request(self, sys_id: str, call: CallContext) -> dict[str, Any] | None:
        return await self._tables.row("sc_request", sys_id, call, "sys_id,number,request_state,correlation_id")

    async def _free_assets(self, request: str, call: CallContext) -> None:
        """Give back what was reserved for a request's lines."""
        for line in await self._tables.find("sc_req_item", call, "sys_id,request", request=request):
            for asset in await self._tables.find(
                "alm_asset", call, "sys_id,request_line,install_status", request_line=line["sys_id"]
            ):
                await self._tables.update("alm_asset", asset["sys_id"], call, IN_STOCK)

    def _incident(self, new: NewException, call: CallContext) -> dict[str, str]:
        fields = {
            "short_description": new.summary,
            "description": "\n".join(filter(None, (f"Process {new.process}", new.detail))),
            "impact": IMPACT[new.severity],
            "urgency": IMPACT[new.severity],
            "category": "process exception",
            "correlation_id": call.key,
            "correlation_display": "Topstitch",
        }
        group = self.given.option("assignment_group")
        return {**fields, "assignment_group": group} if group else fields

    def _filed(self, row: Mapping[str, Any]) -> Done[ExceptionFiled]:
        url = self._link("incident", row["sys_id"])
        return Done(
            ExceptionFiled(exception_id=row["sys_id"], number=row["number"], url=url), record=row["sys_id"], url=url
        )

    def _requested(self, sys_id: str, number: str) -> Done[Requested]:
        return Done(Requested(request_id=sys_id, number=number), record=sys_id, url=self._link("sc_request", sys_id))

    def _link(self, table: str, sys_id: str) -> str:
        return f"{self.given.base_url.rstrip('/')}/nav_to.do?uri={table}.do?sys_id={sys_id}"


def _amount(text: str) -> Decimal:
    """Read a catalog price such as ``$1,399.00``."""
    try:
        return Decimal(text.lstrip("$€£").replace(",", ""))
    except InvalidOperation:
        raise PermanentError(
            "price_unreadable", f"{TITLE} shows the price {text!r}; correct it in the catalog"
        ) from None


def _note(new: NewException) -> str:
    return "\n".join(filter(None, (new.summary, f"Severity {new.severity}", new.detail)))
