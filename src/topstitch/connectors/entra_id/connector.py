"""The Entra ID connector: accounts, groups, licences, and who can be asked.

An account is created disabled, completed, and enabled last: whatever breaks on the way
leaves an account nobody can use, carrying our key, and the next try completes it. The key
stands in ``extensionAttribute15``; the look-up calls an account created only when it is
complete. What can be refused is found out before anything is written.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from topstitch.connectors.contract import CallContext, Connector, Done, Given, read, write
from topstitch.connectors.entra_id.graph import TITLE, USER_FIELDS, Graph, quoted
from topstitch.connectors.entra_id.models import (
    ById,
    ByName,
    CreatedUser,
    Disable,
    Enabled,
    FoundUser,
    GroupName,
    ListedUser,
    ListedUsers,
    Membership,
    NewUser,
    People,
    Person,
    PersonRef,
    Since,
    User,
    UserQuery,
)
from topstitch.connectors.http import segment
from topstitch.foundation.errors import (
    ChangedError,
    ConnectorError,
    PermanentError,
    TransientError,
    UnknownOutcomeError,
)
from topstitch.foundation.ids import random_bytes
from topstitch.model.action import Idempotency

MARK: Final = "extensionAttribute15"
ENROLMENT: Final = "https://mysignins.microsoft.com/security-info?login_hint={upn}"
LAG_SECONDS: Final = 5.0
PORTAL: Final = (
    "https://entra.microsoft.com/#view/Microsoft_AAD_UsersAndTenants/UserProfileMenuBlade/~/overview/userId/{id}"
)


class EntraId(Connector):
    """Microsoft Entra ID."""

    name = "entra-id"
    major = 1
    title = TITLE
    kind = "Identity"
    credential_names = ("client_id", "client_secret")
    option_names = ("tenant", "login_url", "scope", "licenses", "usage_location", "enrolment_url")

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self._graph = Graph(given)

    @write(
        idempotency=Idempotency.UNIQUE,
        lookup="find_created",
        undo="disable_user",
        risk_floor=2,
        settle="60s",
        timeout="60s",
    )
    async def create_user(self, new: NewUser, call: CallContext) -> Done[CreatedUser]:
        """Create an account with groups, licences and manager, and enable it when all of that is in place."""
        groups = await self._graph.group_ids(new.groups, call)
        skus = await self._graph.sku_ids(new.licenses, call)
        manager = await self._manager(new.manager_upn, call)
        user = await self._create_or_adopt_own(new, call)
        try:
            await self._complete(user, groups, skus, manager, call)
        except PermanentError as error:
            await self._abandon(user, call, error)
            raise
        return self._created(user)

    @read(timeout="60s")
    async def find_created(self, new: NewUser, call: CallContext) -> Done[CreatedUser] | None:
        """The account if it is there, complete and enabled, and either carries our key or is the same person's."""
        user = await self._graph.user(new.upn, call)
        if user is None or not user.get("accountEnabled"):
            return None
        same_person = new.employee_id is not None and user.get("employeeId") == new.employee_id
        if _mark_of(user) != call.key and not same_person:
            return None
        if not set(new.groups) <= set(await self._graph.groups_of(user["id"], call)):
            return None
        if not set(new.licenses) <= set(await self._graph.license_names(user, call)):
            return None
        return self._created(user)

    @read()
    async def get_user(self, who: ByName, call: CallContext) -> Done[User]:
        """An account with its groups and licences."""
        user = await self._graph.user(who.upn, call)
        if user is None:
            raise PermanentError("not_found", f"{TITLE} has no user {who.upn}; check the principal name", status=404)
        shown = User(
            user_id=user["id"],
            upn=user["userPrincipalName"],
            enabled=bool(user["accountEnabled"]),
            department=user.get("department") or "",
            groups=sorted(await self._graph.groups_of(user["id"], call)),
            licenses=sorted(await self._graph.license_names(user, call)),
            employee_id=user.get("employeeId"),
        )
        return Done(shown, record=user["id"], url=PORTAL.format(id=user["id"]))

    @read()
    async def find_user(self, query: UserQuery, call: CallContext) -> FoundUser:
        """Whether there is an account of this person, enabled or not."""
        user = None
        if query.employee_id:
            user = await self._by_employee(query.employee_id, call)
        if user is None and query.upn:
            user = await self._graph.user(query.upn, call)
        if user is None:
            return FoundUser(found=False)
        return FoundUser(
            found=True, user_id=user["id"], upn=user["userPrincipalName"], enabled=bool(user["accountEnabled"])
        )

    @write(idempotency=Idempotency.NATURAL, undo="enable_user", risk_floor=2, timeout="60s")
    async def disable_user(self, who: Disable, call: CallContext) -> Done[Enabled]:
        """Disable an account and sign it out; with ``remove_groups`` it leaves its groups and licences too."""
        gone = Done(Enabled(user_id=who.user_id, enabled=False), found=call.first, record=who.user_id)
        user = await self._graph.user(who.user_id, call)
        if user is None:
            return gone
        path = f"/users/{segment(user['id'])}"
        await self._graph.send("PATCH", path, call, {"accountEnabled": False})
        await self._graph.send("POST", f"{path}/revokeSignInSessions", call)
        if who.remove_groups:
            for group in (await self._graph.groups_of(user["id"], call)).values():
                await self._leave(group, user["id"], call)
            await self._release(user, call)
        return Done(Enabled(user_id=user["id"], enabled=False), record=user["id"])

    @write(idempotency=Idempotency.NATURAL, undo="disable_user", risk_floor=2)
    async def enable_user(self, who: ById, call: CallContext) -> Done[Enabled]:
        """Enable an account. Groups and licences it lost do not come back."""
        await self._graph.send("PATCH", f"/users/{segment(who.user_id)}", call, {"accountEnabled": True})
        return Done(Enabled(user_id=who.user_id, enabled=True), record=who.user_id)

    @write(idempotency=Idempotency.NATURAL, undo="remove_groups", risk_floor=2)
    async def add_groups(self, wanted: Membership, call: CallContext) -> Done[Membership]:
        """Put a user into groups."""
        ids = await self._graph.group_ids(wanted.groups, call)
        for group in ids.values():
            await self._join(group, wanted.user_id, call)
        return Done(wanted, record=wanted.user_id)

    @write(idempotency=Idempotency.NATURAL, undo="add_groups", risk_floor=2)
    async def remove_groups(self, wanted: Membership, call: CallContext) -> Done[Membership]:
        """Take a user out of groups."""
        ids = await self._graph.group_ids(wanted.groups, call)
        for group in ids.values():
            await self._leave(group, wanted.user_id, call)
        return Done(wanted, record=wanted.user_id)

    @read(timeout="60s")
    async def list_users(self, since: Since, call: CallContext) -> ListedUsers:
        """Accounts with an employee number that were created on or after a day."""
        query = {"$select": "id,userPrincipalName,employeeId,createdDateTime", "$top": "999"}
        rows = [
            ListedUser(employee_number=row["employeeId"], user_id=row["id"], upn=row["userPrincipalName"])
            async for row in self._graph.rows("/users", call, query)
            if row.get("employeeId") and (row.get("createdDateTime") or "") >= since.since
        ]
        return ListedUsers(rows=rows)

    @read()
    async def resolve_group(self, query: GroupName, call: CallContext) -> People:
        """The people in a group, those in its inner groups too."""
        ids = await self._graph.group_ids([query.group], call)
        members = self._graph.rows(
            f"/groups/{segment(ids[query.group])}/transitiveMembers",
            call,
            {"$select": "id,displayName,mail,userPrincipalName"},
        )
        return People(people=[_person(row) async for row in members if _is_user(row)])

    @read()
    async def resolve_manager(self, query: PersonRef, call: CallContext) -> People:
        """The manager of a person, or nobody."""
        user = await self._graph.user(query.person, call) or await self._by_employee(query.person, call)
        if user is None:
            return People(people=[])
        manager = await self._graph.find(f"/users/{segment(user['id'])}/manager", call)
        return People(people=[_person(manager)] if manager else [])

    async def health(self) -> Mapping[str, Any]:
        """Read one user."""
        call = CallContext(timeout_seconds=self.given.timeout_seconds)
        await self._graph.get("/users", call, {"$top": "1", "$select": "id"})
        return {"ok": True}

    async def close(self) -> None:
        """Close the session."""
        await self._graph.http.close()

    async def _create_or_adopt_own(self, new: NewUser, call: CallContext) -> dict[str, Any]:
        """Create the account, disabled; if the name is taken by what an earlier try of ours left, go on with that."""
        try:
            answer = await self._graph.send("POST", "/users", call, self._document(new, call))
            made: dict[str, Any] = answer.document(writes=True)
            return {**made, "id": made["id"], "userPrincipalName": made["userPrincipalName"]}
        except ChangedError as error:
            user = await self._graph.user(new.upn, call)
            if user is None:
                raise TransientError(
                    "not_visible_yet",
                    f"{TITLE} says that the principal name is taken but does not show it yet; it is tried again",
                    retry_after_seconds=LAG_SECONDS,
                    status=error.status,
                ) from None
            if _mark_of(user) != call.key:
                raise
            return user

    def _document(self, new: NewUser, call: CallContext) -> dict[str, Any]:
        fields = {
            "accountEnabled": False,
            "displayName": new.display_name,
            "mailNickname": new.upn.partition("@")[0],
            "userPrincipalName": new.upn,
            "department": new.department or None,
            "employeeId": new.employee_id,
            "usageLocation": self.given.option("usage_location", "US"),
            "onPremisesExtensionAttributes": {MARK: call.key},
            "passwordProfile": {"forceChangePasswordNextSignIn": True, "password": _unknown_password()},
        }
        return {name: value for name, value in fields.items() if value is not None}

    async def _complete(
        self,
        user: Mapping[str, Any],
        groups: Mapping[str, str],
        skus: Mapping[str, str],
        manager: str | None,
        call: CallContext,
    ) -> None:
        path = f"/users/{segment(user['id'])}"
        for group in groups.values():
            await self._join(group, user["id"], call)
        if skus:
            add = [{"skuId": sku, "disabledPlans": []} for sku in skus.values()]
            await self._graph.send("POST", f"{path}/assignLicense", call, {"addLicenses": add, "removeLicenses": []})
        if manager is not None:
            await self._refer("PUT", f"{path}/manager/$ref", manager, call)
        await self._graph.send("PATCH", path, call, {"accountEnabled": True})

    async def _abandon(self, user: Mapping[str, Any], call: CallContext, why: ConnectorError) -> None:
        """Take the unfinished account away again, so that the refusal is one by which nothing was done."""
        try:
            await self._graph.send("DELETE", f"/users/{segment(user['id'])}", call)
        except ConnectorError:
            raise UnknownOutcomeError(
                why.code, f"{why.message} The disabled account that was begun could not be removed.", status=why.status
            ) from why

    async def _manager(self, upn: str | None, call: CallContext) -> str | None:
        if not upn:
            return None
        user = await self._graph.user(upn, call)
        if user is None:
            raise PermanentError(
                "manager_unknown", f"{TITLE} has no manager {upn}; correct manager_upn or create the account"
            )
        return str(user["id"])

    async def _join(self, group: str, user_id: str, call: CallContext) -> None:
        """Add a member; being one already is as good."""
        try:
            await self._refer("POST", f"/groups/{segment(group)}/members/$ref", user_id, call)
        except ChangedError as error:
            if error.code != "already_exists":
                raise

    async def _refer(self, method: str, path: str, user_id: str, call: CallContext) -> None:
        """Refer to a user. A user so new that Graph does not see it yet is referred to later."""
        reference = {"@odata.id": f"{self._graph.http.base_url}/v1.0/directoryObjects/{user_id}"}
        try:
            await self._graph.send(method, path, call, reference)
        except PermanentError as error:
            if error.status != 404:
                raise
            self._graph.forget_groups()
            raise TransientError(
                "not_visible_yet",
                f"{TITLE} does not see the account or the group yet; it is tried again",
                retry_after_seconds=LAG_SECONDS,
                status=404,
            ) from None

    async def _leave(self, group: str, user_id: str, call: CallContext) -> None:
        """Remove a member; being none already is as good."""
        try:
            await self._graph.send("DELETE", f"/groups/{segment(group)}/members/{segment(user_id)}/$ref", call)
        except PermanentError as error:
            if error.status != 404:
                raise

    async def _release(self, user: Mapping[str, Any], call: CallContext) -> None:
        held = [row["skuId"] for row in user.get("assignedLicenses") or ()]
        if held:
            body = {"addLicenses": [], "removeLicenses": held}
            await self._graph.send("POST", f"/users/{segment(user['id'])}/assignLicense", call, body)

    async def _by_employee(self, employee_id: str, call: CallContext) -> dict[str, Any] | None:
        query = {"$filter": f"employeeId eq '{quoted(employee_id)}'", "$select": USER_FIELDS}
        rows = [row async for row in self._graph.rows("/users", call, query) if row.get("employeeId") == employee_id]
        if len(rows) > 1:
            raise PermanentError(
                "several_records",
                f"{TITLE} has {len(rows)} users with employee number {employee_id}; correct them there",
            )
        return rows[0] if rows else None

    def _created(self, user: Mapping[str, Any]) -> Done[CreatedUser]:
        upn = str(user["userPrincipalName"])
        link = self.given.option("enrolment_url", ENROLMENT).replace("{upn}", quote(upn, safe="@"))
        value = CreatedUser(user_id=user["id"], upn=upn, enrolment_link=link)
        return Done(value, record=user["id"], url=PORTAL.format(id=user["id"]))


def _mark_of(user: Mapping[str, Any]) -> str | None:
    mark = (user.get("onPremisesExtensionAttributes") or {}).get(MARK)
    return str(mark) if mark else None


def _unknown_password() -> str:
    """Return a password that nobody ever learns: people enrol through their link."""
    return "Aa1!" + base64.b85encode(random_bytes(24)).decode()


def _is_user(row: Mapping[str, Any]) -> bool:
    return bool(row.get("@odata.type", "#microsoft.graph.user") == "#microsoft.graph.user")


def _person(row: Mapping[str, Any]) -> Person:
    email = row.get("mail") or row["userPrincipalName"]
    return Person(id=row["userPrincipalName"], name=row.get("displayName") or email, email=email)
