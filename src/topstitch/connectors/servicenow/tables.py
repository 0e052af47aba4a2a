"""ServiceNow's REST APIs as they are spoken: rows by encoded query, references, errors.

The connector's hands. An instance ignores fields of a query that it does not know and then
returns every row, so each condition is compared again on the rows that come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from topstitch.connectors.auth import Auth, OAuth2, basic
from topstitch.connectors.contract import CallContext, Given
from topstitch.connectors.http import Answer, HttpClient, nothing_done, segment
from topstitch.foundation.errors import ConnectorError, PermanentError

TITLE: Final = "ServiceNow"
ROWS_MAX: Final = 500
CATALOG: Final = "/api/sn_sc/servicecatalog"


class Tables:
    """The REST APIs for one connection."""

    def __init__(self, given: Given) -> None:
        self.http = HttpClient(given, title=TITLE, auth=_auth(given), classify=self._classify)

    def _classify(self, answer: Answer, writes: bool) -> ConnectorError | None:
        """Translate what ServiceNow says differently from its status. A 503 of its promises that nothing was done."""
        if answer.status < 300 and answer.status != 202:
            return None
        if answer.status == 503:
            return nothing_done(answer, TITLE, self.http.retry_after(answer))
        error = self.http.classify(answer, writes)
        if type(error) is PermanentError:
            code, words = _error(answer)
            return PermanentError(
                code or error.code,
                f"{TITLE} refused: {words} Correct it there or in the step.",
                status=answer.status,
                request_id=error.request_id,
                body=error.body,
            )
        return error

    async def find(self, table: str, call: CallContext, fields: str, **equals: str) -> list[dict[str, Any]]:
        """Return the rows whose fields equal what is given, whatever the query's filter did."""
        if any("^" in value for value in equals.values()):
            raise PermanentError("query_unsafe", f"{TITLE} cannot be asked for a value with ^ in it; correct the value")
        query = {
            "sysparm_query": "^".join(f"{name}={value}" for name, value in equals.items()),
            "sysparm_fields": fields,
            "sysparm_limit": str(ROWS_MAX),
            "sysparm_exclude_reference_link": "true",
        }
        answer = await self.http.get(f"/api/now/table/{table}", call, query=query)
        rows = answer.document()["result"]
        own = {name: value for name, value in equals.items() if "." not in name}
        return [row for row in rows if all(row.get(name) == value for name, value in own.items())]

    async def one(self, table: str, call: CallContext, fields: str, **equals: str) -> dict[str, Any] | None:
        """Return the one row that fits, or nothing; two of them are an error that a person clears up."""
        rows = await self.find(table, call, fields, **equals)
        if len(rows) > 1:
            raise PermanentError(
                "several_records",
                f"{TITLE} has {len(rows)} rows in {table} with the same {', '.join(equals)}; remove what is not meant",
            )
        return rows[0] if rows else None

    async def row(self, table: str, sys_id: str, call: CallContext, fields: str) -> dict[str, Any] | None:
        """Return one row by id, or nothing if there is none."""
        query = {"sysparm_fields": fields, "sysparm_exclude_reference_link": "true"}
        try:
            answer = await self.http.get(f"/api/now/table/{table}/{segment(sys_id)}", call, query=query)
        except PermanentError as error:
            if error.status == 404:
                return None
            raise
        row: dict[str, Any] = answer.document()["result"]
        return row

    async def insert(self, table: str, call: CallContext, fields: Mapping[str, str]) -> dict[str, Any]:
        """Insert a row."""
        answer = await self.http.request("POST", f"/api/now/table/{table}", call, body=fields)
        row: dict[str, Any] = answer.document(writes=True)["result"]
        return row

    async def update(self, table: str, sys_id: str, call: CallContext, fields: Mapping[str, str]) -> dict[str, Any]:
        """Change a row."""
        answer = await self.http.request("PATCH", f"/api/now/table/{table}/{segment(sys_id)}", call, body=fields)
        row: dict[str, Any] = answer.document(writes=True)["result"]
        return row

    async def catalog(self, method: str, path: str, call: CallContext, body: Any = None, **query: str) -> Any:
        """Call the Service Catalog API."""
        answer = await self.http.request(method, f"{CATALOG}{path}", call, body=body, query=query or None)
        return answer.document(writes=method != "GET")["result"] if answer.body else None


def _auth(given: Given) -> Auth:
    """Prefer OAuth; a connection that only names username and password uses HTTP basic."""
    if not given.credentials.names("client_id"):
        return basic(given, "username", "password")
    return OAuth2(given, f"{given.base_url.rstrip('/')}/oauth_token.do", extra=lambda: _password_grant(given))


def _password_grant(given: Given) -> dict[str, str]:
    username = given.credentials.optional("username")
    if username is None:
        return {}
    return {"grant_type": "password", "username": username, "password": given.credentials.get("password")}


def _error(answer: Answer) -> tuple[str, str]:
    document = answer.peek()
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return "", f"status {answer.status}."
    words = ": ".join(str(error[part]) for part in ("message", "detail") if error.get(part))
    return ("not_found" if answer.status == 404 else "refused"), f"{words}."
