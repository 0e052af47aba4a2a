"""The service catalog of the simulated ServiceNow, and the life of what was ordered.

``order_now`` makes one request for one item; a cart makes one request for several. The
hidden variable ``topstitch_key`` becomes ``correlation_id`` on the request and its items, as a
catalog business rule would do it. A request is approved, worked on and closed as clock time
passes; cancelling it cancels its items. ``servicenow`` calls it.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from topstitch.simulators.servicenow_rows import Rows
from topstitch.simulators.simulator import Simulator
from topstitch.simulators.state import Json
from topstitch.simulators.wire import Answer, Call, Endpoint, Refusal

ROOT: Final = "/api/sn_sc/servicecatalog"
_LIFE: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "requested": (
        "approved_after_seconds",
        {"request_state": "approved", "approval": "approved", "stage": "requested"},
    ),
    "approved": ("in_process_after_seconds", {"request_state": "in_process", "stage": "fulfillment"}),
    "in_process": (
        "closed_after_seconds",
        {"request_state": "closed_complete", "stage": "closed_complete", "active": "false"},
    ),
}
"""Request state -> the setting that says how long after the order it ends, and what it becomes."""
ON_ORDER: Final = "2"
QUANTITY_MAX: Final = 100


class Catalog:
    """The catalog of one simulator."""

    def __init__(self, simulator: Simulator, rows: Rows) -> None:
        self._simulator = simulator
        self._rows = rows
        self._records = simulator.records
        self._waiting: list[tuple[datetime, str]] = []
        for request in self._records.all("sc_request"):
            self._wait_for_next(request["sys_id"])

    def endpoints(self) -> list[Endpoint]:
        """Return the addresses of the catalog."""
        return [
            Endpoint("GET", f"{ROOT}/items", self.list_items),
            Endpoint("GET", ROOT + "/items/{sys_id}", self.get_item),
            Endpoint("POST", ROOT + "/items/{sys_id}/order_now", self.order_now),
            Endpoint("POST", ROOT + "/items/{sys_id}/add_to_cart", self.add_to_cart),
            Endpoint("GET", f"{ROOT}/cart", self.show_cart),
            Endpoint("DELETE", f"{ROOT}/cart/empty", self.empty_cart),
            Endpoint("POST", f"{ROOT}/cart/submit_order", self.submit_order),
        ]

    def list_items(self, call: Call) -> Answer:
        """List items by text and category."""
        text, category = call.query.get("sysparm_text", "").lower(), call.query.get("sysparm_category", "")
        items = [item for item in self._records.find("sc_cat_item", active="true") if text in item["name"].lower()]
        found = [item for item in items if category in ("", item["category"])]
        limit, offset = int(call.query.get("sysparm_limit", "10")), int(call.query.get("sysparm_offset", "0"))
        return Answer(200, {"result": [self._described(item) for item in found[offset : offset + limit]]})

    def get_item(self, call: Call) -> Answer:
        """Return one item with its variables."""
        return Answer(200, {"result": {**self._described(self._item(call)), "variables": _variables()}})

    def order_now(self, call: Call) -> Answer:
        """Order one item at once."""
        item, asked = self._item(call), call.json()
        quantity = self._quantity(asked)
        variables = asked.get("variables") or {}
        self._refuse_incomplete(variables)
        request = self._request([(item, quantity)], variables, asked.get("sysparm_requested_for", ""))
        return Answer(200, {"result": _ordered(request)})

    def add_to_cart(self, call: Call) -> Answer:
        """Put an item into the caller's cart."""
        item, asked = self._item(call), call.json()
        line = {"item": item["sys_id"], "quantity": self._quantity(asked), "variables": asked.get("variables") or {}}
        lines = [*self._cart(), line]
        self._records.put("_carts", "cart", {"lines": lines})
        return Answer(200, {"result": self._cart_shown()})

    def show_cart(self, _call: Call) -> Answer:
        """Return the caller's cart."""
        return Answer(200, {"result": self._cart_shown()})

    def empty_cart(self, _call: Call) -> Answer:
        """Empty the caller's cart."""
        self._records.delete("_carts", "cart")
        return Answer(204)

    def submit_order(self, call: Call) -> Answer:
        """Order what is in the cart: one request, one line per item."""
        lines = self._cart()
        if not lines:
            raise Refusal(
                self._simulator.error(400, "Cart is empty", "Add an item to the cart before submitting the order")
            )
        items = [(self._records.get("sc_cat_item", line["item"]) or {}, line["quantity"]) for line in lines]
        variables = {name: value for line in lines for name, value in line["variables"].items()}
        request = self._request(items, variables, call.json().get("sysparm_requested_for", ""))
        self._records.delete("_carts", "cart")
        return Answer(200, {"result": _ordered(request)})

    def forget(self) -> None:
        """Forget which requests wait for time to pass."""
        self._waiting.clear()

    def advance(self) -> None:
        """Move every request whose time has come to its next state."""
        now = self._simulator.clock.now()
        while self._waiting and self._waiting[0][0] <= now:
            _, sys_id = heapq.heappop(self._waiting)
            request = self._records.get("sc_request", sys_id)
            if request is not None and self._next(request, at_most=now) is not None:
                self._records.change("sc_request", sys_id, _LIFE[request["request_state"]][1])
                self._wait_for_next(sys_id)

    def cancel_lines(self, request: Json) -> None:
        """Cancel the lines of a cancelled request, as the vendor's business rule does."""
        for item in self._records.find("sc_req_item", request=request["sys_id"]):
            cancelled = {"state": "4", "stage": "Request Cancelled", "active": "false"}
            self._records.change("sc_req_item", item["sys_id"], cancelled)

    def _next(self, request: Json, at_most: datetime | None = None) -> datetime | None:
        """Return when a request moves on by itself; nothing if never, or later than ``at_most``."""
        if request.get("request_state") not in _LIFE:
            return None
        after = self._simulator.settings[_LIFE[request["request_state"]][0]]
        if after is None:
            return None
        opened = datetime.strptime(request["sys_created_on"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        due = opened + timedelta(seconds=float(after))
        return due if at_most is None or due <= at_most else None

    def _wait_for_next(self, sys_id: str) -> None:
        due = self._next(self._records.get("sc_request", sys_id) or {})
        if due is not None:
            heapq.heappush(self._waiting, (due, sys_id))

    def _request(self, items: list[tuple[Json, int]], variables: Mapping[str, Any], requested_for: str) -> Json:
        key = str(variables.get("topstitch_key", ""))
        total = sum((Decimal(item["price"]) * quantity for item, quantity in items), Decimal(0))
        common = {"correlation_id": key, "requested_for": requested_for, "opened_at": self._rows.stamp()}
        request = self._rows.put_new(
            "sc_request",
            {
                **common,
                "short_description": str(variables.get("short_description", "Equipment")),
                "request_state": "requested",
                "approval": "requested",
                "stage": "requested",
                "state": "1",
                "price": str(total),
                "u_location": str(variables.get("location", "")),
                "u_department": str(variables.get("department", "")),
                "u_tier": str(variables.get("tier", "")),
            },
        )
        for item, quantity in items:
            self._line(request, item, quantity, variables, common)
        self._wait_for_next(request["sys_id"])
        return request

    def _line(
        self, request: Json, item: Json, quantity: int, variables: Mapping[str, Any], common: Mapping[str, str]
    ) -> None:
        shown = {name: str(value) for name, value in variables.items()}
        line = self._rows.put_new(
            "sc_req_item",
            {
                **common,
                "request": request["sys_id"],
                "cat_item": item["sys_id"],
                "quantity": str(quantity),
                "price": item["price"],
                "short_description": item["name"],
                "state": "1",
                "stage": "waiting_for_approval",
                "variables": str(shown),
            },
        )
        for _ in range(quantity):
            asset = {
                "display_name": item["name"],
                "model": item["model"],
                "install_status": ON_ORDER,
                "substatus": "reserved",
                "request_line": line["sys_id"],
                "cost": item["price"],
                "correlation_id": common["correlation_id"],
                "asset_tag": f"P{self._records.number('asset_tag', 1000):06d}",
                "assigned_to": common["requested_for"],
            }
            self._rows.put_new("alm_asset", asset)

    def _item(self, call: Call) -> Json:
        item = self._records.get("sc_cat_item", call.params["sys_id"])
        if item is None or item["active"] != "true":
            raise Refusal(
                self._simulator.error(404, "Record does not exist or insufficient rights", "Invalid item sys_id")
            )
        return item

    def _quantity(self, asked: Mapping[str, Any]) -> int:
        text = str(asked.get("sysparm_quantity", "1"))
        if not text.isdigit() or not 0 < int(text) <= QUANTITY_MAX:
            raise Refusal(self._simulator.error(400, "Invalid Quantity value", "Quantity must be a positive number"))
        return int(text)

    def _refuse_incomplete(self, variables: Mapping[str, Any]) -> None:
        missing = [name for name in self._simulator.settings["mandatory"].get("catalog", []) if not variables.get(name)]
        if missing:
            text = "Mandatory Variables are required"
            raise Refusal(self._simulator.error(400, text, ", ".join(missing)))

    def _cart(self) -> list[dict[str, Any]]:
        cart = self._records.get("_carts", "cart")
        return list(cart["lines"]) if cart else []

    def _cart_shown(self) -> dict[str, Any]:
        lines = self._cart()
        items = [(self._records.get("sc_cat_item", line["item"]) or {}, line["quantity"]) for line in lines]
        total = sum((Decimal(item["price"]) * quantity for item, quantity in items), Decimal(0))
        return {
            "items": [{"name": item["name"], "quantity": str(count)} for item, count in items],
            "subtotal_price": f"${total}",
        }

    def _described(self, item: Json) -> dict[str, Any]:
        plain = {
            name: item[name]
            for name in ("sys_id", "name", "short_description", "category", "tier", "currency", "model")
        }
        return {**plain, "price": f"${item['price']}", "type": "catalog_item", "order": 0, "show_quantity": True}


def _ordered(request: Json) -> dict[str, Any]:
    return {
        "sys_id": request["sys_id"],
        "number": request["number"],
        "request_number": request["number"],
        "request_id": request["sys_id"],
        "parent_id": None,
        "parent_table": "task",
        "table": "sc_request",
    }


def _variables() -> list[dict[str, Any]]:
    names = ("employee_id", "location", "department", "tier")
    shown = [{"name": name, "label": name.replace("_", " ").title(), "type": 6, "mandatory": False} for name in names]
    return [*shown, {"name": "topstitch_key", "label": "Key", "type": 6, "mandatory": False, "visible": False}]
