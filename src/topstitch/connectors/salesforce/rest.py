"""Salesforce's REST API as it is spoken: queries, composites, errors, limits.

The connector's hands. Values in a query are escaped; a composite with ``allOrNone`` is one
transaction, so that nothing of it stays when a part is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from topstitch.connectors.auth import OAuth2
from topstitch.connectors.contract import CallContext, Given, unreadable
from topstitch.connectors.http import Answer, HttpClient, nothing_done, segment
from topstitch.foundation.errors import ChangedError, ConnectorError, CredentialError, PermanentError, TransientError

TITLE: Final = "Salesforce"
VERSION: Final = "v61.0"
KEY: Final = "Topstitch_Key__c"
PAGES_MAX: Final = 100
PARTS_MAX: Final = 25
NOTHING_DONE: Final = (
    "UNABLE_TO_LOCK_ROW",
    "REQUEST_LIMIT_EXCEEDED",
    "SERVER_UNAVAILABLE",
    "CONCURRENT_REQUESTS_LIMIT_EXCEEDED",
)
TAKEN: Final = ("DUPLICATE_VALUE", "DUPLICATES_DETECTED", "DUPLICATE_USERNAME", "ENTITY_IS_LOCKED")
LIMIT_WAIT_SECONDS: Final = 60.0
"""How long to wait when the vendor says that the limit is used up and not for how long."""

Part = dict[str, Any]


class Rest:
    """The REST API for one connection."""

    def __init__(self, given: Given) -> None:
        token_url = given.option("login_url", given.base_url).rstrip("/") + "/services/oauth2/token"
        self.http = HttpClient(given, title=TITLE, auth=OAuth2(given, token_url), classify=self._classify)
        self.root = f"/services/data/{given.option('version', VERSION)}"

    async def query(self, soql: str, call: CallContext) -> list[dict[str, Any]]:
        """Return every row that a query selects."""
        page = (await self.http.get(f"{self.root}/query", call, query={"q": soql})).document()
        rows = list(page["records"])
        for _ in range(PAGES_MAX):
            if page["done"]:
                return rows
            page = (await self.http.get(page["nextRecordsUrl"], call)).document()
            rows += page["records"]
        raise PermanentError("too_many_pages", f"{TITLE} has more than {PAGES_MAX} pages of rows; narrow the read")

    async def one(self, soql: str, call: CallContext) -> dict[str, Any] | None:
        """Return the one row that a query selects, or nothing; two are an error that a person clears up."""
        rows = await self.query(soql, call)
        if len(rows) > 1:
            raise PermanentError(
                "several_records",
                f"{TITLE} has {len(rows)} rows where one is meant; remove what is not meant",
                detail={"soql": soql},
            )
        return rows[0] if rows else None

    async def row(self, name: str, id_: str, call: CallContext, fields: str) -> dict[str, Any] | None:
        """Return one row by id, or nothing."""
        try:
            answer = await self.http.get(f"{self.root}/sobjects/{name}/{segment(id_)}", call, query={"fields": fields})
        except PermanentError as error:
            if error.status == 404:
                return None
            raise
        return answer.document()

    async def update(self, name: str, id_: str, call: CallContext, fields: Mapping[str, Any]) -> None:
        """Change one row."""
        await self.http.request("PATCH", f"{self.root}/sobjects/{name}/{segment(id_)}", call, body=fields)

    def upsert_part(self, reference: str, name: str, key: str, fields: Mapping[str, Any]) -> Part:
        """Return the part of a composite that creates or changes the row with our key."""
        url = f"{self.root}/sobjects/{name}/{KEY}/{segment(key)}"
        return {"method": "PATCH", "url": url, "referenceId": reference, "body": dict(fields)}

    def update_part(self, reference: str, name: str, id_: str, fields: Mapping[str, Any]) -> Part:
        """Return the part of a composite that changes one row."""
        url = f"{self.root}/sobjects/{name}/{id_}"
        return {"method": "PATCH", "url": url, "referenceId": reference, "body": dict(fields)}

    def delete_part(self, reference: str, name: str, id_: str) -> Part:
        """Return the part of a composite that deletes one row."""
        return {"method": "DELETE", "url": f"{self.root}/sobjects/{name}/{id_}", "referenceId": reference}

    async def together(self, parts: Sequence[Part], call: CallContext) -> dict[str, Any]:
        """Carry parts out as one transaction; return their bodies by reference."""
        body = {"allOrNone": True, "compositeRequest": list(parts)}
        answer = await self.http.request("POST", f"{self.root}/composite", call, body=body)
        results = answer.document(writes=True).get("compositeResponse")
        if not isinstance(results, list):
            raise unreadable(
                TITLE, "a composite without results", writes=True, status=answer.status, body=answer.text()
            )
        refused = [result for result in results if result["httpStatusCode"] >= 300]
        if refused:
            raise self._refused_part(refused, answer)
        return {result["referenceId"]: result["body"] for result in results}

    def _refused_part(self, refused: Sequence[Mapping[str, Any]], answer: Answer) -> ConnectorError:
        """Return the error of the part that failed; the others only say that they were taken back."""
        own = [result for result in refused if _codes(result["body"])[:1] != ["PROCESSING_HALTED"]] or refused
        return self._meaning(own[0]["httpStatusCode"], own[0]["body"], answer)

    def _classify(self, answer: Answer, writes: bool) -> ConnectorError | None:
        """Translate what Salesforce says differently from its status. A 503 of its promises that nothing was done."""
        if answer.status == 300:
            return PermanentError(
                "several_records",
                f"{TITLE} has several rows with this key; remove what is not meant",
                status=300,
                body=answer.text(),
            )
        if answer.status < 300 and answer.status != 202:
            return None
        if answer.status == 503:
            return nothing_done(answer, TITLE, self.http.retry_after(answer))
        if answer.status in (400, 403, 404, 405):
            return self._meaning(answer.status, answer.peek(), answer)
        return self.http.classify(answer, writes)

    def _meaning(self, status: int, body: Any, answer: Answer) -> ConnectorError:
        codes = _codes(body)
        code = codes[0] if codes else f"status_{status}"
        words = body[0].get("message", "") if codes else ""
        rest: dict[str, Any] = {"status": status, "request_id": answer.request_id, "body": answer.text()}
        if code in NOTHING_DONE:
            wait = self.http.retry_after(answer)
            limited = code == "REQUEST_LIMIT_EXCEEDED"
            return TransientError(
                code,
                f"{TITLE} did nothing: {words} It is tried again; lower the connection's rate if this comes often",
                retry_after_seconds=LIMIT_WAIT_SECONDS if wait is None and limited else wait,
                **rest,
            )
        if code in TAKEN:
            return ChangedError(code, f"{TITLE}: {words}. Look at the record that is there.", **rest)
        if code == "INVALID_SESSION_ID":
            return CredentialError(code, f"{TITLE}: {words}. Renew the credential of the connection.", **rest)
        return PermanentError(code, f"{TITLE} refused: {words}. Correct it there or in the step.", **rest)


def literal(text: str) -> str:
    """Return text as a literal of a query."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def select(fields: str, name: str, where: str, rest: str = "") -> str:
    """Return a query; ``where`` holds values only through ``literal``."""
    return f"SELECT {fields} FROM {name} WHERE {where} {rest}".rstrip()  # noqa: S608 -- SOQL, and values are escaped


def _codes(body: Any) -> list[str]:
    if not isinstance(body, list):
        return []
    return [str(one["errorCode"]) for one in body if isinstance(one, dict) and "errorCode" in one]
