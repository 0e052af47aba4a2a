"""The Salesforce connector: places in the sales team, opportunities, accounts.

An assignment is one transaction: the user (found by the identity provider's id, else
created for single sign-on to fill), the territory, the account team, the quota. Each row
carries our key as an external id, so that the same assignment again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from topstitch.connectors.contract import CallContext, Connector, Done, Given, NormalisedEvent, read, write
from topstitch.connectors.salesforce.models import (
    Account,
    AccountRef,
    Assigned,
    Assignment,
    NewAssignment,
    Opportunity,
    OpportunityChange,
    OpportunityChanged,
    OpportunityClosedWon,
    OpportunityRef,
    RemoveAssignment,
    Removed,
    UserRef,
)
from topstitch.connectors.salesforce.rest import KEY, PARTS_MAX, TITLE, Part, Rest, literal, select
from topstitch.foundation.errors import PermanentError, RequestError
from topstitch.foundation.money import parse_money
from topstitch.model.action import Idempotency

PROFILE: Final = "Sales User"
ACCOUNT_TERRITORY: Final = "Territory__c"
ACCOUNTS_MAX: Final = PARTS_MAX - 4
FORECAST: Final = "OpportunityRevenue"
USER_FIELDS: Final = f"Id, IsActive, FederationIdentifier, {KEY}"
OPPORTUNITY_FIELDS: Final = "Id,Name,StageName,AccountId,Amount,CurrencyIsoCode,CloseDate,IsWon"


class Salesforce(Connector):
    """Salesforce."""

    name = "salesforce"
    major = 1
    title = TITLE
    kind = "CRM"
    events: Mapping[str, type[OpportunityClosedWon]] = {"opportunity_closed_won": OpportunityClosedWon}  # type: ignore[misc]
    credential_names = ("client_id", "client_secret")
    option_names = ("login_url", "version", "user_profile", "user_domain", "account_territory_field", "currency")

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self._rest = Rest(given)

    @write(
        idempotency=Idempotency.NATIVE_KEY,
        lookup="find_assignment",
        undo="remove_assignment",
        risk_floor=2,
        settle="10s",
        timeout="60s",
    )
    async def assign_team(self, new: NewAssignment, call: CallContext) -> Done[Assigned]:
        """Give a user territory, role, account team, manager and quota, all of it or nothing."""
        territory = await self._territory(new.territory, call)
        manager = await self._manager(new.reports_to, call)
        user = await self._user(new.user_id, call)
        accounts = await self._accounts(new.territory, call)
        owner = user["Id"] if user else "@{user.id}"
        parts = [await self._user_part(new, user, manager, call)]
        parts.append(
            self._rest.upsert_part(
                "place",
                "UserTerritory2Association",
                call.key,
                {"UserId": owner, "Territory2Id": territory, "RoleInTerritory2": new.role},
            )
        )
        for number, account in enumerate(accounts):
            fields = {"AccountId": account, "UserId": owner, "TeamMemberRole": new.role, "AccountAccessLevel": "Edit"}
            parts.append(self._rest.upsert_part(f"team{number}", "AccountTeamMember", f"{call.key}/{account}", fields))
        if new.quota:
            parts.append(await self._quota_part(new.quota, owner, call))
        made = await self._rest.together(parts, call)
        return self._assigned(made["place"]["id"])

    @read()
    async def find_assignment(self, new: NewAssignment, call: CallContext) -> Done[Assigned] | None:
        """The assignment that carries our key, or the same one made by somebody else."""
        row = await self._rest.one(select("Id", "UserTerritory2Association", f"{KEY} = {literal(call.key)}"), call)
        if row is None:
            user = await self._user(new.user_id, call)
            places = await self._places(user["Id"], call) if user else []
            same = [p for p in places if _name(p) == new.territory and p.get("RoleInTerritory2") == new.role]
            row = same[0] if same else None
        return None if row is None else self._assigned(row["Id"])

    @read()
    async def get_assignment(self, ref: UserRef, call: CallContext) -> Done[Assignment]:
        """A user's latest territory, role and quota."""
        user = await self._user(ref.user_id, call)
        places = await self._places(user["Id"], call) if user else []
        if user is None or not places:
            return Done(Assignment(user_id=ref.user_id, territory="", role="", found=False))
        place = places[0]
        quota = await self._quota(user["Id"], call)
        role = place.get("RoleInTerritory2") or ""
        shown = Assignment(user_id=ref.user_id, territory=_name(place), role=role, quota=quota, found=True)
        return Done(shown, record=place["Id"], url=self._link("UserTerritory2Association", place["Id"]))

    @write(
        idempotency=Idempotency.NATURAL,
        irreversible="an assignment that was removed is made again",
        risk_floor=2,
        timeout="60s",
    )
    async def remove_assignment(self, ref: RemoveAssignment, call: CallContext) -> Done[Removed]:
        """Take territory, account team and quota away. What is gone already is as good."""
        user = await self._user(ref.user_id, call)
        places = await self._places(user["Id"], call) if user else []
        place = next((p for p in places if _name(p) == ref.territory), None)
        if user is None or place is None:
            return Done(Removed(user_id=ref.user_id, removed=False), found=call.first)
        parts = [self._rest.delete_part("place", "UserTerritory2Association", place["Id"])]
        key = place.get(KEY)
        if key:
            parts += [
                self._rest.delete_part(f"team{n}", "AccountTeamMember", id_)
                for n, id_ in enumerate(await self._team(user, key, call))
            ]
            quota = await self._rest.one(select("Id", "ForecastingQuota", f"{KEY} = {literal(key)}"), call)
            parts += [self._rest.delete_part("quota", "ForecastingQuota", quota["Id"])] if quota else []
        if user.get(KEY) == _user_key(ref.user_id) and len(places) == 1:
            parts.append(self._rest.update_part("user", "User", user["Id"], {"IsActive": False}))
        await self._rest.together(parts, call)
        return Done(Removed(user_id=ref.user_id, removed=True), record=place["Id"])

    @read()
    async def get_opportunity(self, ref: OpportunityRef, call: CallContext) -> Done[Opportunity]:
        """An opportunity."""
        row = await self._rest.row("Opportunity", ref.opportunity_id, call, OPPORTUNITY_FIELDS)
        if row is None:
            raise PermanentError(
                "not_found", f"{TITLE} has no opportunity {ref.opportunity_id}; check the id", status=404
            )
        shown = Opportunity(
            opportunity_id=row["Id"],
            name=row["Name"],
            stage=row["StageName"],
            account_id=row.get("AccountId"),
            amount=self._money(row),
            close_date=row["CloseDate"],
            won=bool(row.get("IsWon")),
        )
        return Done(shown, record=row["Id"], url=self._link("Opportunity", row["Id"]))

    @write(
        idempotency=Idempotency.NATURAL,
        irreversible="the values before are in the instance's context; set them again",
        risk_floor=3,
    )
    async def update_opportunity(self, change: OpportunityChange, call: CallContext) -> Done[OpportunityChanged]:
        """Change an opportunity."""
        fields: dict[str, Any] = {"StageName": change.stage, "CloseDate": change.close_date}
        if change.amount is not None:
            fields["Amount"] = float(parse_money(change.amount).amount)
        given = {name: value for name, value in fields.items() if value is not None}
        await self._rest.update("Opportunity", change.opportunity_id, call, given)
        return Done(OpportunityChanged(opportunity_id=change.opportunity_id), record=change.opportunity_id)

    @read()
    async def get_account(self, ref: AccountRef, call: CallContext) -> Done[Account]:
        """An account."""
        row = await self._rest.row("Account", ref.account_id, call, "Id,Name,Industry,BillingCountry")
        if row is None:
            raise PermanentError("not_found", f"{TITLE} has no account {ref.account_id}; check the id", status=404)
        shown = Account(
            account_id=row["Id"], name=row["Name"], industry=row.get("Industry"), country=row.get("BillingCountry")
        )
        return Done(shown, record=row["Id"], url=self._link("Account", row["Id"]))

    def normalise_event(self, name: str, raw: Mapping[str, Any]) -> NormalisedEvent:  # noqa: ARG002 -- the body says it
        """Read an outbound notification on Opportunity: ``{"Id", "OrganizationId", "sObject": {...}}``."""
        row = raw.get("sObject")
        if not isinstance(row, Mapping) or not isinstance(raw.get("Id"), str):
            raise RequestError("event_invalid", "Id or sObject is missing; correct the outbound message")
        if row.get("StageName") != "Closed Won":
            raise RequestError("event_unknown", "StageName is not Closed Won; correct the flow that sends the message")
        needed = {"opportunity_id": "Id", "name": "Name", "account_id": "AccountId", "close_date": "CloseDate"}
        for field in needed.values():
            if not isinstance(row.get(field), str):
                raise RequestError(
                    "event_invalid",
                    f"sObject.{field} is missing; add it to the outbound message",
                    detail={"field": field},
                )
        data: dict[str, Any] = {ours: row[theirs] for ours, theirs in needed.items()}
        amount = self._money(row)
        data |= {"amount": amount} if amount else {}
        data |= {"owner_id": row["OwnerId"]} if row.get("OwnerId") else {}
        return NormalisedEvent(
            "opportunity_closed_won", raw["Id"], f"salesforce:{raw.get('OrganizationId', self.given.alias)}", data
        )

    async def health(self) -> Mapping[str, Any]:
        """Read the limits."""
        call = CallContext(timeout_seconds=self.given.timeout_seconds)
        answer = await self._rest.http.get(f"{self._rest.root}/limits", call)
        return {"ok": True, "limits": answer.document().get("DailyApiRequests")}

    async def close(self) -> None:
        """Close the session."""
        await self._rest.http.close()

    async def _user(self, user_id: str, call: CallContext) -> dict[str, Any] | None:
        """Find a user by the identity provider's id, or by the mark on one that we created."""
        wanted = f"FederationIdentifier = {literal(user_id)} OR {KEY} = {literal(_user_key(user_id))}"
        return await self._rest.one(select(USER_FIELDS, "User", wanted), call)

    async def _manager(self, email: str, call: CallContext) -> str:
        wanted = f"Username = {literal(email)} OR FederationIdentifier = {literal(email)}"
        row = await self._rest.one(select("Id", "User", wanted), call)
        if row is None:
            raise PermanentError(
                "manager_unknown", f"{TITLE} has no user for the manager; create one or correct reports_to"
            )
        return str(row["Id"])

    async def _territory(self, name: str, call: CallContext) -> str:
        row = await self._rest.one(select("Id, Name", "Territory2", f"Name = {literal(name)}"), call)
        if row is None or row["Name"] != name:
            raise PermanentError(
                "territory_unknown", f"{TITLE} has no territory {name}; correct the job profile or the territory"
            )
        return str(row["Id"])

    async def _accounts(self, territory: str, call: CallContext) -> list[str]:
        """Return the accounts of a territory; a connection without that field has no account teams."""
        field = self.given.option("account_territory_field", ACCOUNT_TERRITORY)
        if not field:
            return []
        rows = await self._rest.query(
            select(f"Id, {field}", "Account", f"{field} = {literal(territory)}", "ORDER BY Id"), call
        )
        accounts = [row["Id"] for row in rows if row.get(field) == territory]
        if len(accounts) > ACCOUNTS_MAX:
            raise PermanentError(
                "too_many_accounts",
                f"{territory} has {len(accounts)} accounts and one transaction takes {ACCOUNTS_MAX}; "
                'set account_territory_field = "" and let territory rules give access',
            )
        return accounts

    async def _user_part(
        self, new: NewAssignment, user: Mapping[str, Any] | None, manager: str, call: CallContext
    ) -> Part:
        if user is not None:
            return self._rest.update_part("user", "User", user["Id"], {"ManagerId": manager, "IsActive": True})
        profile = self.given.option("user_profile", PROFILE)
        row = await self._rest.one(select("Id", "Profile", f"Name = {literal(profile)}"), call)
        if row is None:
            raise PermanentError(
                "profile_unknown", f"{TITLE} has no profile {profile}; correct user_profile of the connection"
            )
        address = f"{new.user_id}@{self.given.option('user_domain', 'sso.invalid')}"
        fields = {
            "Username": address,
            "Email": address,
            "LastName": "(new, filled at first sign-on)",
            "Alias": new.user_id[:8],
            "FederationIdentifier": new.user_id,
            "ProfileId": row["Id"],
            "ManagerId": manager,
            "IsActive": True,
            "ForecastEnabled": bool(new.quota),
            "TimeZoneSidKey": "Europe/London",
            "LocaleSidKey": "en_GB",
            "EmailEncodingKey": "UTF-8",
            "LanguageLocaleKey": "en_US",
        }
        return self._rest.upsert_part("user", "User", _user_key(new.user_id), fields)

    async def _quota_part(self, quota: str, owner: str, call: CallContext) -> Part:
        money = parse_money(quota)
        kind = await self._rest.one(select("Id", "ForecastingType", f"DeveloperName = {literal(FORECAST)}"), call)
        fields = {
            "QuotaOwnerId": owner,
            "QuotaAmount": float(money.amount),
            "CurrencyIsoCode": money.currency,
            "StartDate": f"{self.given.clock.now().year}-01-01",
            "IsAmount": True,
            **({"ForecastingTypeId": kind["Id"]} if kind else {}),
        }
        return self._rest.upsert_part("quota", "ForecastingQuota", call.key, fields)

    async def _places(self, user: str, call: CallContext) -> list[dict[str, Any]]:
        """Return a user's territories, the latest first."""
        fields = f"Id, UserId, Territory2.Name, RoleInTerritory2, {KEY}, CreatedDate"
        soql = select(fields, "UserTerritory2Association", f"UserId = {literal(user)}", "ORDER BY CreatedDate DESC")
        return [row for row in await self._rest.query(soql, call) if row["UserId"] == user]

    async def _team(self, user: Mapping[str, Any], key: str, call: CallContext) -> list[str]:
        """Return the account team rows that the assignment with ``key`` made."""
        soql = select(f"Id, {KEY}", "AccountTeamMember", f"UserId = {literal(user['Id'])}")
        return [
            row["Id"] for row in await self._rest.query(soql, call) if str(row.get(KEY) or "").startswith(f"{key}/")
        ]

    async def _quota(self, user: str, call: CallContext) -> str | None:
        soql = select(
            "QuotaAmount, CurrencyIsoCode, StartDate",
            "ForecastingQuota",
            f"QuotaOwnerId = {literal(user)}",
            "ORDER BY StartDate DESC LIMIT 1",
        )
        row = await self._rest.one(soql, call)
        return self._amount(row["QuotaAmount"], row.get("CurrencyIsoCode")) if row else None

    def _money(self, row: Mapping[str, Any]) -> str | None:
        return None if row.get("Amount") is None else self._amount(row["Amount"], row.get("CurrencyIsoCode"))

    def _amount(self, amount: float, currency: str | None) -> str:
        number = f"{amount:.2f}".removesuffix(".00")
        return f"{number} {currency or self.given.option('currency', 'USD')}"

    def _assigned(self, id_: str) -> Done[Assigned]:
        return Done(Assigned(assignment_id=id_), record=id_, url=self._link("UserTerritory2Association", id_))

    def _link(self, name: str, id_: str) -> str:
        return f"{self.given.base_url.rstrip('/')}/lightning/r/{name}/{id_}/view"


def _user_key(user_id: str) -> str:
    return f"user/{user_id}"


def _name(place: Mapping[str, Any]) -> str:
    return str((place.get("Territory2") or {}).get("Name", ""))
