"""An ERP on a socket of its own: customers, orders and invoice plans, as an ASGI application.

It keeps amounts as it pleases (``1200.5`` and ``USD`` apart) and its own words for states. The tests
change what it holds behind everybody's back through ``orders`` and ``plans``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "erp-token"
CUSTOMERS = {"001ACME": {"no": "C-1001", "account": "001ACME", "terms": "net 30", "credit_left": "90000.00 USD"}}


class Erp:
    """What the ERP holds, and who has asked for what."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.plans: dict[str, dict[str, Any]] = {}
        self.unheard = 0
        """How many orders are kept without an answer."""
        self.url = ""
        self.app = Starlette(
            routes=[
                Route("/customers", self._customers),
                Route("/orders", self._order, methods=["GET", "POST"]),
                Route("/orders/{no}", self._one),
                Route("/orders/{no}/cancel", self._cancel, methods=["POST"]),
                Route("/plans/{no}", self._plan, methods=["GET", "PUT", "DELETE"]),
            ]
        )

    async def _customers(self, request: Request) -> Response:
        found = [row for row in CUSTOMERS.values() if row["account"] == request.query_params.get("account")]
        return self._said(request, {"customers": found})

    async def _order(self, request: Request) -> Response:
        if request.method == "GET":
            key = request.query_params.get("key")
            rows = [row for row in self.orders.values() if key in (None, row["key"])]
            return self._said(request, {"orders": rows})
        body = await request.json()
        if any(row["key"] == body["key"] for row in self.orders.values()):
            return self._said(request, {"error": {"code": "duplicate", "text": "the key is used"}}, 409)
        no = f"SO-{len(self.orders) + 1:05}"
        self.orders[no] = {**body, "no": no, "state": "A", "link": f"{self.url}/orders/{no}"}
        if self.unheard:
            self.unheard -= 1
            return Response(status_code=504)
        return self._said(request, self.orders[no], 201)

    async def _one(self, request: Request) -> Response:
        return self._kept(request, self.orders)

    async def _cancel(self, request: Request) -> Response:
        self.orders[request.path_params["no"]]["state"] = "X"
        return self._kept(request, self.orders)

    async def _plan(self, request: Request) -> Response:
        no = request.path_params["no"]
        if request.method == "PUT":
            self.plans[no] = {**await request.json(), "no": f"IP-{no}", "live": True, "link": f"{self.url}/plans/{no}"}
        if request.method == "DELETE":
            self.plans.pop(no, None)
            return self._said(request, {})
        return self._kept(request, self.plans)

    def _kept(self, request: Request, rows: dict[str, dict[str, Any]]) -> Response:
        row = rows.get(request.path_params["no"])
        if row is None:
            return self._said(request, {"error": {"code": "none", "text": "there is none"}}, 404)
        return self._said(request, row)

    def _said(self, request: Request, body: Any, status: int = 200) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"error": {"code": "token", "text": "who are you"}}, 401)
        return JSONResponse(body, status)


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Erp]:
    """Serve an ERP on a free port of the loopback address."""
    erp = Erp()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        erp.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(erp.app, log_level="warning", lifespan="off"))
        serving = asyncio.create_task(server._serve([listening]))
        try:
            yield erp
        finally:
            server.should_exit = True
            await serving
