"""A simulated ServiceNow: token endpoint, Table API, Service Catalog API, Import Set API.

Tables hold text, as the vendor's API shows it; references carry a sys_id. Sources: the
vendor's REST API reference for addresses, bodies and status codes; ``README.md`` lists what
is not faithful. The life of an ordered request is in ``servicenow_catalog``.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Final

from topstitch.foundation.ids import random_bytes
from topstitch.simulators import company
from topstitch.simulators.oauth import Standing, credentials, issue, standing
from topstitch.simulators.servicenow_catalog import Catalog
from topstitch.simulators.servicenow_rows import Rows
from topstitch.simulators.servicenow_tables import COLUMNS
from topstitch.simulators.simulator import Simulator
from topstitch.simulators.state import Json
from topstitch.simulators.wire import Answer, Call, Endpoint, Refusal

_USUAL: Final = {
    400: ("Invalid Request", "The request is not valid"),
    401: ("User Not Authenticated", "Required to provide Auth information"),
    403: ("Insufficient rights to query records", "Failed API level ACL Validation"),
    404: ("No Record found", "Record doesn't exist or ACL restricts the record retrieval"),
    405: ("Method not allowed", "Method not supported"),
    409: ("Conflict", "The record was already inserted"),
    429: ("Rate limit exceeded", "The maximum number of requests allowed for this hour has been exceeded"),
    500: ("Internal server error", "com.glide.rest.domain.ServiceException: transaction failed"),
    503: ("Service unavailable", "The instance is not available at the moment"),
}
TABLE: Final = "/api/now/table/{table}"
ITEM: Final = "/api/sn_sc/servicecatalog/items"
ROWS_MAX: Final = 10_000


class ServiceNowSimulator(Simulator):
    """The company's ServiceNow instance."""

    system: ClassVar[str] = "servicenow"
    defaults: ClassVar[Json] = {
        "client_id": "b1f6a3c2d4e54c8f9a0b1c2d3e4f5a6b",
        "client_secret": "servicenow-sim-secret",
        "username": "topstitch.integration",
        "password": "servicenow-sim-password",
        "token_seconds": 1800,
        "invalid_query_returns_no_rows": False,
        "mandatory": {},
        "approved_after_seconds": 60,
        "in_process_after_seconds": 300,
        "closed_after_seconds": 259_200,
    }
    published: ClassVar[tuple[str, ...]] = ("client_id", "client_secret", "username", "password")

    def endpoints(self) -> list[Endpoint]:
        """Return the addresses of the instance."""
        return [
            Endpoint("POST", "/oauth_token.do", self.token, open=True),
            Endpoint("GET", TABLE, self.list_rows),
            Endpoint("POST", TABLE, self.insert),
            Endpoint("GET", TABLE + "/{sys_id}", self.get_row),
            Endpoint("PATCH", TABLE + "/{sys_id}", self.update),
            Endpoint("PUT", TABLE + "/{sys_id}", self.update),
            Endpoint("DELETE", TABLE + "/{sys_id}", self.delete),
            Endpoint("POST", "/api/now/import/{table}", self.import_row),
            *self.catalog.endpoints(),
        ]

    def seed(self) -> None:
        """Fill users, groups, locations and the catalog."""
        self.catalog.forget()
        for person in company.PEOPLE:
            fields = {
                "user_name": person.email.partition("@")[0],
                "first_name": person.first,
                "last_name": person.last,
                "name": person.name,
                "email": person.email,
                "employee_number": person.worker_id,
                "active": "true",
                "department": person.department,
                "title": person.title,
                "manager": _user_id(person.manager) if person.manager else "",
                "location": person.location,
            }
            self.rows.put("sys_user", _user_id(person.worker_id), fields)
        for name, members in company.GROUPS.items():
            group = company.hex_id("sys_user_group", name)
            self.rows.put(
                "sys_user_group", group, {"name": name, "active": "true", "email": f"{name}@{company.DOMAIN}"}
            )
            for worker in members:
                row = company.hex_id("sys_user_grmember", f"{name}/{worker}")
                self.rows.put("sys_user_grmember", row, {"group": group, "user": _user_id(worker)})
        for item in company.EQUIPMENT:
            fields = {
                "name": item.name,
                "short_description": item.name,
                "category": "equipment",
                "tier": item.tier,
                "price": item.price,
                "currency": "USD",
                "model": item.model,
                "active": "true",
            }
            self.rows.put("sc_cat_item", company.hex_id("sc_cat_item", f"{item.tier}/{item.name}"), fields)
        for code, city in company.LOCATIONS.items():
            self.rows.put("cmn_location", company.hex_id("cmn_location", code), {"name": code, "city": city})

    # The vendor's manners

    def error(self, status: int, code: str = "", message: str = "") -> Answer:
        """Return an error as the REST API does."""
        usual, detail = _USUAL.get(status, ("Error", ""))
        return Answer(status, {"error": {"message": code or usual, "detail": message or detail}, "status": "failure"})

    def throttled(self, retry_after: int) -> Answer:
        """Return 429 with the rule that was broken."""
        answer = self.error(429)
        limit = self.settings.get("throttle") or {"requests": 100}
        reset = int(self.clock.now().timestamp()) + retry_after
        answer.headers |= {"Retry-After": str(retry_after), "X-RateLimit-Reset": str(reset)}
        answer.headers |= {
            "X-RateLimit-Limit": str(limit["requests"]),
            "X-RateLimit-Rule": company.hex_id("rule", "table"),
        }
        return answer

    def decorate(self, call: Call, answer: Answer) -> None:
        """Add the transaction id and, under a rule, the limit."""
        answer.headers.setdefault("X-Transaction-ID", random_bytes(6).hex())
        answer.headers.setdefault("X-Is-Logged-In", "true" if call.bearer() or call.basic() else "false")
        limit = self.settings.get("throttle")
        if limit:
            answer.headers.setdefault("X-RateLimit-Limit", str(limit["requests"]))

    def key_of(self, call: Call) -> str:
        """Return correlation_id, or the catalog variable that becomes it."""
        fields = call.json() if call.body else {}
        if not isinstance(fields, dict):
            return ""
        variables = fields.get("variables")
        return str(
            fields.get("correlation_id") or (variables.get("topstitch_key", "") if isinstance(variables, dict) else "")
        )

    def due(self) -> None:
        """Move ordered requests on."""
        self.catalog.advance()

    @cached_property
    def rows(self) -> Rows:
        """The rows of the instance's tables."""
        return Rows(self)

    @cached_property
    def catalog(self) -> Catalog:
        """The service catalog."""
        return Catalog(self, self.rows)

    def token(self, call: Call) -> Answer:
        """Give out a token for client_credentials, password or refresh_token."""
        form = call.form()
        client, secret = credentials(call)
        known = (self.settings["client_id"], self.settings["client_secret"])
        user = (self.settings["username"], self.settings["password"])
        grant = form.get("grant_type")
        if grant not in {"client_credentials", "password", "refresh_token"}:
            return self._denied("unsupported_grant_type")
        if (client, secret) != known:
            return self._denied("invalid_client")
        if grant == "password" and (form.get("username"), form.get("password")) != user:
            return self._denied("server_error")
        seconds = self.settings["token_seconds"]
        token = issue(self.records, self.clock, client=client, seconds=seconds)
        body = {"access_token": token, "scope": "useraccount", "token_type": "Bearer", "expires_in": seconds}
        if grant != "client_credentials":
            body["refresh_token"] = token[::-1]
        return Answer(200, body)

    def _denied(self, error: str) -> Answer:
        return Answer(401, {"error": error, "error_description": "access_denied"})

    def authenticate(self, call: Call) -> None:
        """Accept a good token or the integration user's basic credentials."""
        if call.basic() == (self.settings["username"], self.settings["password"]):
            return
        if standing(self.records, self.clock, call.bearer()) is not Standing.GOOD:
            raise Refusal(self.error(401))

    # Table API

    def list_rows(self, call: Call) -> Answer:
        """List rows by encoded query, with limit, offset, fields and display values."""
        table = self._table(call)
        given = {name: value for name, value in call.query.items() if not name.startswith("sysparm_")}
        query = "^".join([*(f"{name}={value}" for name, value in given.items()), call.query.get("sysparm_query", "")])
        found = self.rows.select(table, query)
        limit, offset = _whole(call, "sysparm_limit", ROWS_MAX), _whole(call, "sysparm_offset", 0)
        headers = {"X-Total-Count": str(len(found))}
        if offset + limit < len(found):
            rest = f"sysparm_limit={limit}&sysparm_offset={offset + limit}"
            headers["Link"] = f'<{call.base_url}{call.path}?{rest}>;rel="next"'
        return Answer(
            200, {"result": [self.rows.shown(table, row, call) for row in found[offset : offset + limit]]}, headers
        )

    def get_row(self, call: Call) -> Answer:
        """Return one row."""
        return Answer(200, {"result": self.rows.shown(call.params["table"], self._row(call), call)})

    def insert(self, call: Call) -> Answer:
        """Insert a row. Nothing is unique: two rows may carry one correlation_id, as in the vendor's tables."""
        table = self._table(call)
        fields = self._fields(table, call)
        self._refuse_incomplete(table, fields)
        row = self.rows.put_new(table, fields)
        headers = {"Location": f"{call.base_url}{call.path}/{row['sys_id']}"}
        return Answer(201, {"result": self.rows.shown(table, row, call)}, headers)

    def update(self, call: Call) -> Answer:
        """Change a row's fields; unknown fields are ignored."""
        table, row = call.params["table"], self._row(call)
        fields = self._fields(table, call)
        changed = self.rows.change(table, row, fields)
        if table == "sc_request" and fields.get("request_state") == "closed_cancelled":
            self.catalog.cancel_lines(changed)
        return Answer(200, {"result": self.rows.shown(table, changed, call)})

    def delete(self, call: Call) -> Answer:
        """Delete a row."""
        self.records.delete(call.params["table"], self._row(call)["sys_id"])
        return Answer(204)

    def import_row(self, call: Call) -> Answer:
        """Take one row through a transform map that coalesces on correlation_id (or u_key)."""
        table = call.params["table"].removeprefix("u_").removesuffix("_import")
        if table not in COLUMNS:
            raise Refusal(self.error(400, f"Invalid table {call.params['table']}"))
        fields = self._fields(table, call)
        key = fields.get("correlation_id", "")
        existing = self.records.first(table, correlation_id=key) if key else None
        status = "inserted"
        if existing is None:
            row = self.rows.put_new(table, fields)
        else:
            status = "ignored" if all(existing.get(name) == value for name, value in fields.items()) else "updated"
            row = self.records.change(table, existing["sys_id"], fields)
        result = {
            "transform_map": table,
            "table": table,
            "display_name": "number",
            "display_value": row.get("number", ""),
            "record_link": f"{call.base_url}/api/now/table/{table}/{row['sys_id']}",
            "status": status,
            "sys_id": row["sys_id"],
        }
        return Answer(201, {"import_set": "ISET0010001", "staging_table": call.params["table"], "result": [result]})

    # Helpers

    def _table(self, call: Call) -> str:
        if call.params["table"] not in COLUMNS:
            raise Refusal(self.error(400, f"Invalid table {call.params['table']}"))
        return call.params["table"]

    def _row(self, call: Call) -> Json:
        row = self.records.get(self._table(call), call.params["sys_id"])
        if row is None:
            raise Refusal(self.error(404))
        return row

    def _fields(self, table: str, call: Call) -> dict[str, str]:
        fields = call.json()
        if not isinstance(fields, dict):
            raise Refusal(self.error(400, "Exception while reading request", "Cannot decode the request body as JSON"))
        return self.rows.known_fields(table, fields)

    def _refuse_incomplete(self, table: str, fields: Json) -> None:
        for name in self.settings["mandatory"].get(table, []):
            if not fields.get(name):
                text = f"Data Policy Exception: The following fields are mandatory: {name}"
                raise Refusal(self.error(403, "Operation Failed", text))


def _user_id(worker: str) -> str:
    return company.hex_id("sys_user", worker)


def _whole(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, "")
    return int(text) if text.isdigit() else default
