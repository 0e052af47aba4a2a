"""Microsoft Graph as it is spoken: its errors, its paging, and the names behind its ids.

The connector's hands. A filter's answer is compared again on the rows that come back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from topstitch.connectors.auth import OAuth2
from topstitch.connectors.contract import CallContext, Given
from topstitch.connectors.http import Answer, HttpClient, nothing_done, segment
from topstitch.foundation.errors import ChangedError, ConnectorError, PermanentError

TITLE: Final = "Microsoft Entra ID"
GRAPH: Final = "https://graph.microsoft.com"
LOGIN: Final = "https://login.microsoftonline.com"
PAGES_MAX: Final = 200
USER_FIELDS: Final = (
    "id,userPrincipalName,accountEnabled,displayName,mail,department,employeeId,assignedLicenses,"
    "onPremisesExtensionAttributes"
)
LICENSES: Final[Mapping[str, str]] = {"E3": "SPE_E3", "E5": "SPE_E5", "F3": "SPE_F1", "CRM": "CRM_SEAT"}
"""Licence names in job profiles -> SKU part numbers; a connection's ``licenses`` adds to them."""


class Graph:
    """Graph for one connection."""

    def __init__(self, given: Given) -> None:
        base = given.base_url or GRAPH
        login = given.option("login_url", LOGIN if base == GRAPH else base).rstrip("/")
        tenant = segment(given.option("tenant"))
        scope = given.option("scope", f"{GRAPH}/.default")
        self.http = HttpClient(
            replace(given, base_url=base),
            title=TITLE,
            auth=OAuth2(given, f"{login}/{tenant}/oauth2/v2.0/token", scope=scope),
            classify=self._classify,
        )
        self._part_numbers = {**LICENSES, **dict(given.options.get("licenses", {}))}
        self._groups: dict[str, str] = {}
        self._skus: dict[str, str] = {}

    def _classify(self, answer: Answer, writes: bool) -> ConnectorError | None:
        """Translate what Graph says differently from its status."""
        if answer.status < 300 and answer.status != 202:
            return None
        code, message = error_of(answer)
        if answer.status == 503:
            return nothing_done(answer, TITLE, self.http.retry_after(answer))
        error = self.http.classify(answer, writes)
        if error is None:
            return None
        rest: dict[str, Any] = {"status": answer.status, "request_id": error.request_id, "body": error.body}
        if answer.status == 400 and "already exist" in message:
            return ChangedError("already_exists", f"{TITLE}: {message} Look at the record that is there.", **rest)
        if type(error) is PermanentError:
            return PermanentError(
                code or error.code, f"{TITLE} refused: {message} Correct it there or in the step.", **rest
            )
        error.code = code if answer.status == 429 or not code else error.code
        return error

    async def get(self, path: str, call: CallContext, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Read one resource."""
        return (await self.http.get(f"/v1.0{path}", call, query=query)).document()

    async def find(self, path: str, call: CallContext, query: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Read one resource, or nothing if there is none."""
        try:
            return await self.get(path, call, query)
        except PermanentError as error:
            if error.status == 404:
                return None
            raise

    async def rows(
        self, path: str, call: CallContext, query: Mapping[str, Any] | None = None, *, eventual: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        """Read a list to its end, page by page."""
        headers = {"ConsistencyLevel": "eventual"} if eventual else None
        answer = await self.http.get(f"/v1.0{path}", call, query=query, headers=headers)
        for _ in range(PAGES_MAX):
            page = answer.document()
            for row in page["value"]:
                yield row
            following = page.get("@odata.nextLink")
            if not following:
                return
            answer = await self.http.get(following, call, headers=headers)
        raise PermanentError("too_many_pages", f"{TITLE} has more than {PAGES_MAX} pages of {path}; narrow the read")

    async def send(self, method: str, path: str, call: CallContext, body: Any = None) -> Answer:
        """Change something."""
        return await self.http.request(
            method, f"/v1.0{path}", call, body=body, headers={"client-request-id": call.key}, writes=True
        )

    async def user(self, key: str, call: CallContext) -> dict[str, Any] | None:
        """Return a user by id or principal name, or nothing."""
        return await self.find(f"/users/{segment(key)}", call, {"$select": USER_FIELDS})

    async def groups_of(self, user_id: str, call: CallContext) -> dict[str, str]:
        """Return the groups that a user is in: name -> id."""
        found: dict[str, str] = {}
        async for row in self.rows(f"/users/{segment(user_id)}/memberOf", call, {"$select": "id,displayName"}):
            if row.get("@odata.type", "#microsoft.graph.group") == "#microsoft.graph.group":
                found[row["displayName"]] = row["id"]
        return found

    async def group_ids(self, names: Sequence[str], call: CallContext) -> dict[str, str]:
        """Return the ids of groups by name; a group that does not exist is refused before anything is done."""
        return {name: await self._group_id(name, call) for name in dict.fromkeys(names)}

    async def _group_id(self, name: str, call: CallContext) -> str:
        if name not in self._groups:
            query = {"$filter": f"displayName eq '{quoted(name)}'", "$select": "id,displayName"}
            rows = [row async for row in self.rows("/groups", call, query) if row.get("displayName") == name]
            if len(rows) != 1:
                what = "no group" if not rows else f"{len(rows)} groups"
                raise PermanentError(
                    "group_unclear", f"{TITLE} has {what} named {name}; correct the job profile or the group"
                )
            self._groups[name] = rows[0]["id"]
        return self._groups[name]

    def forget_groups(self) -> None:
        """Look group names up again: one of the ids was not there any more."""
        self._groups.clear()

    async def sku_ids(self, names: Sequence[str], call: CallContext) -> dict[str, str]:
        """Return the SKU ids of licences by name; one that was not bought is refused before anything is done."""
        parts = await self._bought(call) if names else {}
        wanted = {name: self._part_numbers.get(name, name) for name in dict.fromkeys(names)}
        for name, part in wanted.items():
            if part not in parts:
                raise PermanentError(
                    "license_unknown", f"{TITLE} has no licence {name} ({part}); buy it or map it under licenses"
                )
        return {name: parts[part] for name, part in wanted.items()}

    async def license_names(self, user: Mapping[str, Any], call: CallContext) -> list[str]:
        """Return the names of the licences that a user holds."""
        held = [row["skuId"] for row in user.get("assignedLicenses") or ()]
        if not held:
            return []
        part_of = {sku: part for part, sku in (await self._bought(call)).items()}
        name_of = {part: name for name, part in self._part_numbers.items()}
        return [name_of.get(part_of.get(sku, sku), part_of.get(sku, sku)) for sku in held]

    async def _bought(self, call: CallContext) -> dict[str, str]:
        if not self._skus:
            async for row in self.rows("/subscribedSkus", call):
                self._skus[row["skuPartNumber"]] = row["skuId"]
        return self._skus


def error_of(answer: Answer) -> tuple[str, str]:
    """Return Graph's error code and message."""
    document = answer.peek()
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return "", f"status {answer.status}."
    return str(error.get("code", "")), str(error.get("message", ""))


def quoted(text: str) -> str:
    """Return text fit to stand between the quotes of a filter."""
    return text.replace("'", "''")
