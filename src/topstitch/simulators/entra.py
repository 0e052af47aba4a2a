"""A simulated Microsoft Entra ID: the sign-in endpoint and Microsoft Graph v1.0.

Users, groups, members, managers, licences, deleted items. Sources: Microsoft Graph v1.0
reference for bodies, status codes and error codes; ``README.md`` lists what is not faithful.
"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar, Final

from topstitch.foundation.ids import random_bytes
from topstitch.simulators import company, odata
from topstitch.simulators.oauth import Standing, credentials, issue, standing
from topstitch.simulators.simulator import Simulator
from topstitch.simulators.state import Json
from topstitch.simulators.wire import Answer, Call, Endpoint, Refusal

_CODES: Final = {
    400: ("Request_BadRequest", "The request is malformed or incorrect."),
    401: ("InvalidAuthenticationToken", "Access token is empty."),
    403: ("Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
    404: (
        "Request_ResourceNotFound",
        "Resource does not exist or one of its queried reference-property objects are not present.",
    ),
    409: ("Request_Conflict", "The request conflicts with the current state of the resource."),
    412: ("Request_PreconditionFailed", "A precondition specified for this request failed."),
    429: ("TooManyRequests", "Too many requests."),
    500: ("InternalServerError", "The server encountered an internal error. Please retry the request."),
    503: ("ServiceUnavailable", "The service is temporarily unavailable."),
    504: ("GatewayTimeout", "The service did not answer in time."),
}
_SHOWN_BY_DEFAULT: Final = (
    "id",
    "businessPhones",
    "displayName",
    "givenName",
    "jobTitle",
    "mail",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "surname",
    "userPrincipalName",
)
_REQUIRED: Final = ("accountEnabled", "displayName", "mailNickname", "userPrincipalName", "passwordProfile")
_NOT_SHOWN: Final = ("passwordProfile", "manager", "_members")
USER: Final = "/v1.0/users/{user}"
GROUP: Final = "/v1.0/groups/{group}"
PAGE_MAX: Final = 999


class EntraSimulator(Simulator):
    """Entra ID of the company."""

    system: ClassVar[str] = "entra-id"
    defaults: ClassVar[Json] = {
        "tenant": company.DIRECTORY_ID,
        "client_id": "5b0f4a5e-9c2d-4f57-8f1c-7d2d0a9b1c01",
        "client_secret": "entra-sim-secret",
        "token_seconds": 3599,
        "reference_lag_seconds": 0,
    }
    published: ClassVar[tuple[str, ...]] = ("tenant", "client_id", "client_secret")

    def endpoints(self) -> list[Endpoint]:
        """Return the addresses of sign-in and Graph."""
        return [
            Endpoint("POST", "/{tenant}/oauth2/v2.0/token", self.token, open=True),
            Endpoint("GET", "/v1.0/users", self.list_users),
            Endpoint("POST", "/v1.0/users", self.create_user),
            Endpoint("GET", USER, self.get_user),
            Endpoint("PATCH", USER, self.change_user),
            Endpoint("DELETE", USER, self.delete_user),
            Endpoint("GET", USER + "/manager", self.get_manager),
            Endpoint("PUT", USER + "/manager/$ref", self.set_manager),
            Endpoint("DELETE", USER + "/manager/$ref", self.remove_manager),
            Endpoint("GET", USER + "/memberOf", self.groups_of),
            Endpoint("GET", USER + "/transitiveMemberOf", self.groups_of),
            Endpoint("GET", USER + "/directReports", self.direct_reports),
            Endpoint("GET", USER + "/licenseDetails", self.license_details),
            Endpoint("POST", USER + "/assignLicense", self.assign_license),
            Endpoint("POST", USER + "/revokeSignInSessions", self.revoke_sessions),
            Endpoint("GET", "/v1.0/subscribedSkus", self.list_skus),
            Endpoint("GET", "/v1.0/organization", self.organization),
            Endpoint("GET", "/v1.0/directory/deletedItems/microsoft.graph.user", self.list_deleted),
            Endpoint("GET", "/v1.0/directory/deletedItems/{item}", self.get_deleted),
            Endpoint("POST", "/v1.0/directory/deletedItems/{item}/restore", self.restore),
            Endpoint("DELETE", "/v1.0/directory/deletedItems/{item}", self.purge),
            Endpoint("GET", "/v1.0/groups", self.list_groups),
            Endpoint("POST", "/v1.0/groups", self.create_group),
            Endpoint("PATCH", "/v1.0/groups(uniqueName='{name}')", self.upsert_group),
            Endpoint("GET", "/v1.0/groups(uniqueName='{name}')", self.get_group),
            Endpoint("GET", GROUP, self.get_group),
            Endpoint("PATCH", GROUP, self.change_group),
            Endpoint("DELETE", GROUP, self.delete_group),
            Endpoint("GET", GROUP + "/members", self.list_members),
            Endpoint("GET", GROUP + "/transitiveMembers", self.list_members),
            Endpoint("POST", GROUP + "/members/$ref", self.add_member),
            Endpoint("DELETE", GROUP + "/members/{user}/$ref", self.remove_member),
        ]

    def seed(self) -> None:
        """Give everybody an account and the groups their members."""
        for person in company.PEOPLE:
            manager = company.BY_ID.get(person.manager)
            self._store_user(
                company.stable_id("user", person.email),
                {
                    "userPrincipalName": person.email,
                    "accountEnabled": True,
                    "displayName": person.name,
                    "givenName": person.first,
                    "surname": person.last,
                    "mailNickname": person.email.partition("@")[0],
                    "mail": person.email,
                    "employeeId": person.worker_id,
                    "department": person.department,
                    "jobTitle": person.title,
                    "usageLocation": "DE",
                    "manager": company.stable_id("user", manager.email) if manager else None,
                    "assignedLicenses": [{"skuId": company.LICENSES["E3"][0], "disabledPlans": []}],
                },
            )
        for name, members in company.GROUPS.items():
            ids = [company.stable_id("user", company.BY_ID[worker].email) for worker in members]
            self._store_group(
                company.stable_id("group", name), {"displayName": name, "uniqueName": name, "_members": ids}
            )

    # The vendor's manners

    def error(self, status: int, code: str = "", message: str = "") -> Answer:
        """Return a Graph error."""
        usual_code, usual_message = _CODES.get(status, ("UnknownError", ""))
        request_id = str(uuid.UUID(bytes=random_bytes(16)))
        inner = {"date": self.now_text()[:19], "request-id": request_id, "client-request-id": request_id}
        return Answer(
            status, {"error": {"code": code or usual_code, "message": message or usual_message, "innerError": inner}}
        )

    def decorate(self, call: Call, answer: Answer) -> None:
        """Add Graph's diagnostic headers."""
        answer.headers.setdefault("request-id", str(uuid.UUID(bytes=random_bytes(16))))
        answer.headers.setdefault(
            "client-request-id", call.headers.get("client-request-id", answer.headers["request-id"])
        )
        limit = self.settings.get("throttle")
        left = self.throttle.left(limit, call.bearer())
        if limit and left is not None and left <= 0.2 * limit["requests"]:
            answer.headers["x-ms-throttle-limit-percentage"] = f"{1 - left / limit['requests']:.1f}"

    def key_of(self, call: Call) -> str:
        """Return what the caller put into client-request-id."""
        return call.headers.get("client-request-id", "")

    def token(self, call: Call) -> Answer:
        """Give out a token for the client credentials grant."""
        form = call.form()
        client, secret = credentials(call)
        tenants = {self.settings["tenant"], company.TENANT, f"{company.TENANT}.onmicrosoft.com"}
        if call.params["tenant"] not in tenants:
            return self._sign_in_error(400, 90002, "invalid_request", f"Tenant '{call.params['tenant']}' not found.")
        if form.get("grant_type") != "client_credentials":
            return self._sign_in_error(
                400, 70003, "unsupported_grant_type", "The app requested an unsupported grant type."
            )
        if client != self.settings["client_id"]:
            text = f"Application with identifier '{client}' was not found in the directory '{company.TENANT}'."
            return self._sign_in_error(400, 700016, "unauthorized_client", text)
        if secret != self.settings["client_secret"]:
            return self._sign_in_error(401, 7000215, "invalid_client", "Invalid client secret provided.")
        if not form.get("scope", "").endswith("/.default"):
            text = f"The provided value for scope {form.get('scope', '')} is not valid."
            return self._sign_in_error(400, 1002012, "invalid_scope", text)
        seconds = self.settings["token_seconds"]
        token = issue(self.records, self.clock, client=client, seconds=seconds)
        return Answer(
            200, {"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token}
        )

    def _sign_in_error(self, status: int, number: int, error: str, text: str) -> Answer:
        trace = str(uuid.UUID(bytes=random_bytes(16)))
        body = {
            "error": error,
            "error_description": f"AADSTS{number}: {text} Trace ID: {trace} Timestamp: {self.now_text()}",
            "error_codes": [number],
            "timestamp": self.now_text(),
            "trace_id": trace,
            "correlation_id": trace,
        }
        return Answer(status, body)

    def authenticate(self, call: Call) -> None:
        """Refuse a call without a good token."""
        texts = {
            Standing.MISSING: "Access token is empty.",
            Standing.UNKNOWN: "Access token validation failure. Invalid audience.",
            Standing.EXPIRED: "Lifetime validation failed, the token is expired.",
        }
        how = standing(self.records, self.clock, call.bearer())
        if how is not Standing.GOOD:
            raise Refusal(self.error(401, "InvalidAuthenticationToken", texts[how]))

    # Users

    def list_users(self, call: Call) -> Answer:
        """List users with $filter, $select, $top and paging."""
        return self._page(call, self.records.all("users"), _SHOWN_BY_DEFAULT, f"{call.base_url}/v1.0/users")

    def create_user(self, call: Call) -> Answer:
        """Create a user; the principal name must be free, also among the deleted."""
        fields = self._checked_user(call.json(), required=_REQUIRED)
        id_ = str(uuid.UUID(bytes=random_bytes(16), version=4))
        user = self._store_user(id_, {"createdDateTime": self.now_text(), "mail": None, **fields})
        where = f"{call.base_url}/v1.0/$metadata#users/$entity"
        return Answer(
            201, {"@odata.context": where, **_shown(user, None)}, {"Location": f"{call.base_url}/v1.0/users/{id_}"}
        )

    def get_user(self, call: Call) -> Answer:
        """Return one user by id or principal name."""
        user = self._user(call.params["user"])
        names = call.query.get("$select", "").split(",") if call.query.get("$select") else list(_SHOWN_BY_DEFAULT)
        return Answer(200, {"@odata.context": f"{call.base_url}/v1.0/$metadata#users/$entity", **_shown(user, names)})

    def change_user(self, call: Call) -> Answer:
        """Change a user's properties."""
        user = self._user(call.params["user"])
        fields = self._checked_user(call.json(), required=(), me=user["id"])
        self.records.change("users", user["id"], fields)
        return Answer(204)

    def delete_user(self, call: Call) -> Answer:
        """Move a user to the deleted items, where it stays 30 days."""
        user = self._user(call.params["user"])
        self.records.delete("users", user["id"])
        self.records.put("deleted_users", user["id"], {**user, "deletedDateTime": self.now_text()})
        for group in self.records.all("groups"):
            if user["id"] in group["_members"]:
                self._set_members(group, [member for member in group["_members"] if member != user["id"]])
        return Answer(204)

    def list_deleted(self, call: Call) -> Answer:
        """List deleted users."""
        return self._page(call, self.records.all("deleted_users"), _SHOWN_BY_DEFAULT, call.base_url + call.path)

    def get_deleted(self, call: Call) -> Answer:
        """Return one deleted user."""
        return Answer(200, _shown(self._deleted(call), None))

    def restore(self, call: Call) -> Answer:
        """Bring a deleted user back; memberships do not come back here."""
        item = dict(self._deleted(call))
        self._refuse_taken(item["userPrincipalName"], me=item["id"])
        self.records.delete("deleted_users", item["id"])
        item.pop("deletedDateTime")
        return Answer(200, _shown(self.records.put("users", item["id"], item), None))

    def purge(self, call: Call) -> Answer:
        """Delete for good."""
        self.records.delete("deleted_users", self._deleted(call)["id"])
        return Answer(204)

    def get_manager(self, call: Call) -> Answer:
        """Return a user's manager."""
        user = self._user(call.params["user"])
        manager = self.records.get("users", user.get("manager") or "")
        if manager is None:
            raise Refusal(
                self.error(
                    404, "Request_ResourceNotFound", f"Resource 'manager' does not exist for user '{user['id']}'."
                )
            )
        return Answer(200, {"@odata.type": "#microsoft.graph.user", **_shown(manager, list(_SHOWN_BY_DEFAULT))})

    def set_manager(self, call: Call) -> Answer:
        """Set a user's manager by reference."""
        user = self._user(call.params["user"])
        self.records.change("users", user["id"], {"manager": self._referenced(call)["id"]})
        return Answer(204)

    def remove_manager(self, call: Call) -> Answer:
        """Take a user's manager away."""
        self.records.change("users", self._user(call.params["user"])["id"], {"manager": None})
        return Answer(204)

    def direct_reports(self, call: Call) -> Answer:
        """List those whose manager the user is."""
        user = self._user(call.params["user"])
        return self._page(
            call, self.records.find("users", manager=user["id"]), _SHOWN_BY_DEFAULT, call.base_url + call.path
        )

    def revoke_sessions(self, call: Call) -> Answer:
        """Sign a user out everywhere."""
        user = self._user(call.params["user"])
        self.records.change("users", user["id"], {"signInSessionsValidFromDateTime": self.now_text()})
        return Answer(200, {"@odata.context": f"{call.base_url}/v1.0/$metadata#Edm.Boolean", "value": True})

    # Licences

    def list_skus(self, call: Call) -> Answer:
        """List the licences the company bought."""
        used = [sku["skuId"] for user in self.records.all("users") for sku in user.get("assignedLicenses", [])]
        value = [
            {
                "skuId": sku,
                "skuPartNumber": part,
                "capabilityStatus": "Enabled",
                "appliesTo": "User",
                "consumedUnits": used.count(sku),
                "prepaidUnits": {"enabled": seats, "suspended": 0, "warning": 0},
            }
            for sku, part, seats in company.LICENSES.values()
        ]
        return Answer(200, {"@odata.context": f"{call.base_url}/v1.0/$metadata#subscribedSkus", "value": value})

    def license_details(self, call: Call) -> Answer:
        """List a user's licences."""
        parts = {sku: part for sku, part, _ in company.LICENSES.values()}
        held = [sku["skuId"] for sku in self._user(call.params["user"]).get("assignedLicenses", [])]
        return Answer(200, {"value": [{"id": sku, "skuId": sku, "skuPartNumber": parts.get(sku, "")} for sku in held]})

    def assign_license(self, call: Call) -> Answer:
        """Add and remove licences; needs a usage location and free seats."""
        user = self._user(call.params["user"])
        asked = call.json()
        add = [one["skuId"] for one in asked.get("addLicenses", [])]
        remove = set(asked.get("removeLicenses", []))
        held = [one["skuId"] for one in user.get("assignedLicenses", [])]
        if add and not user.get("usageLocation"):
            text = "License assignment cannot be done for user with invalid usage location."
            raise Refusal(self.error(400, "Request_BadRequest", text))
        for sku in add:
            self._refuse_without_seat(sku, already=sku in held)
        after = [sku for sku in dict.fromkeys([*held, *add]) if sku not in remove]
        changed = self.records.change(
            "users", user["id"], {"assignedLicenses": [{"skuId": sku, "disabledPlans": []} for sku in after]}
        )
        return Answer(200, _shown(changed, None))

    def _refuse_without_seat(self, sku: str, *, already: bool) -> None:
        seats = {known: count for known, _, count in company.LICENSES.values()}
        if sku not in seats:
            raise Refusal(
                self.error(400, "Request_BadRequest", f"License {sku} does not correspond to a valid company License.")
            )
        used = sum(
            1 for user in self.records.all("users") for one in user.get("assignedLicenses", []) if one["skuId"] == sku
        )
        if not already and used >= self.settings.get("seats", {}).get(sku, seats[sku]):
            text = f"Subscription with SKU {sku} does not have any available licenses."
            raise Refusal(self.error(400, "Request_BadRequest", text))

    def organization(self, _call: Call) -> Answer:
        """Return the tenant."""
        domains = [{"name": company.DOMAIN, "isDefault": True}]
        return Answer(
            200, {"value": [{"id": self.settings["tenant"], "displayName": "Acme", "verifiedDomains": domains}]}
        )

    # Groups

    def list_groups(self, call: Call) -> Answer:
        """List groups."""
        return self._page(call, self.records.all("groups"), (), f"{call.base_url}/v1.0/groups")

    def get_group(self, call: Call) -> Answer:
        """Return one group by id or unique name."""
        return Answer(200, _shown(self._group(call), None))

    def create_group(self, call: Call) -> Answer:
        """Create a group. Display names need not be unique; unique names must."""
        fields = call.json()
        for name in ("displayName", "mailEnabled", "mailNickname", "securityEnabled"):
            if name not in fields:
                raise Refusal(
                    self.error(
                        400, "Request_BadRequest", f"A value is required for property '{name}' of resource 'Group'."
                    )
                )
        if fields.get("uniqueName") and self.records.first("groups", uniqueName=fields["uniqueName"]):
            raise Refusal(self._taken("uniqueName"))
        id_ = str(uuid.UUID(bytes=random_bytes(16), version=4))
        return Answer(201, _shown(self._store_group(id_, {**fields, "_members": []}), None))

    def upsert_group(self, call: Call) -> Answer:
        """Create a group by unique name if it is missing, else change it."""
        group = self.records.first("groups", uniqueName=call.params["name"])
        if group is not None:
            self.records.change("groups", group["id"], call.json())
            return Answer(204)
        if "create-if-missing" not in call.headers.get("prefer", ""):
            raise Refusal(self.error(404))
        id_ = str(uuid.UUID(bytes=random_bytes(16), version=4))
        fields = {**call.json(), "uniqueName": call.params["name"], "_members": []}
        return Answer(201, _shown(self._store_group(id_, fields), None))

    def change_group(self, call: Call) -> Answer:
        """Change a group's properties."""
        self.records.change("groups", self._group(call)["id"], call.json())
        return Answer(204)

    def delete_group(self, call: Call) -> Answer:
        """Delete a group."""
        self.records.delete("groups", self._group(call)["id"])
        return Answer(204)

    def groups_of(self, call: Call) -> Answer:
        """List the groups a user is in."""
        user = self._user(call.params["user"])
        groups = [group for group in self.records.all("groups") if user["id"] in group["_members"]]
        return self._page(call, groups, (), call.base_url + call.path, kind="#microsoft.graph.group")

    def list_members(self, call: Call) -> Answer:
        """List a group's members."""
        users = [self.records.get("users", member) for member in self._group(call)["_members"]]
        found = [user for user in users if user is not None]
        return self._page(call, found, _SHOWN_BY_DEFAULT, call.base_url + call.path, kind="#microsoft.graph.user")

    def add_member(self, call: Call) -> Answer:
        """Add a member by reference; a second time is refused, as Graph does."""
        group, user = self._group(call), self._referenced(call)
        if user["id"] in group["_members"]:
            text = "One or more added object references already exist for the following modified properties: 'members'."
            raise Refusal(self.error(400, "Request_BadRequest", text))
        self._set_members(group, [*group["_members"], user["id"]])
        return Answer(204)

    def remove_member(self, call: Call) -> Answer:
        """Remove a member; 404 if it is none."""
        group = self._group(call)
        if call.params["user"] not in group["_members"]:
            raise Refusal(self.error(404))
        self._set_members(group, [member for member in group["_members"] if member != call.params["user"]])
        return Answer(204)

    # Helpers

    def _page(self, call: Call, rows: list[Json], shown: tuple[str, ...], url: str, kind: str = "") -> Answer:
        try:
            page = odata.page(rows, call.query, url, top_max=PAGE_MAX)
        except odata.QueryError as error:
            raise Refusal(self.error(400, error.code, str(error))) from error
        names = call.query["$select"].split(",") if call.query.get("$select") else (list(shown) or None)
        tagged: dict[str, Any] = {"@odata.type": kind} if kind else {}
        value = [{**tagged, **_shown(row, names)} for row in page.rows]
        body: dict[str, Any] = {"@odata.context": f"{call.base_url}/v1.0/$metadata", "value": value}
        if page.count is not None:
            body["@odata.count"] = page.count
        if page.next_link:
            body["@odata.nextLink"] = page.next_link
        return Answer(200, body)

    def _user(self, key: str) -> Json:
        user = self.records.get("users", key) or next(
            (one for one in self.records.all("users") if one["userPrincipalName"].lower() == key.lower()), None
        )
        if user is None:
            raise Refusal(self._missing(key))
        return user

    def _group(self, call: Call) -> Json:
        found = (
            self.records.first("groups", uniqueName=call.params["name"])
            if "name" in call.params
            else self.records.get("groups", call.params["group"])
        )
        if found is None:
            raise Refusal(self._missing(call.params.get("group", "")))
        return found

    def _deleted(self, call: Call) -> Json:
        item = self.records.get("deleted_users", call.params["item"])
        if item is None:
            raise Refusal(self.error(404))
        return item

    def _referenced(self, call: Call) -> Json:
        reference = str(call.json().get("@odata.id", ""))
        if not reference:
            raise Refusal(self.error(400, "Request_BadRequest", "The request must carry an @odata.id."))
        user = self._user(reference.rstrip("/").rsplit("/", 1)[-1])
        created = user.get("createdDateTime")
        if created and odata.seconds_since(created, self.clock.now()) < float(self.settings["reference_lag_seconds"]):
            raise Refusal(self._missing(user["id"]))
        return user

    def _checked_user(self, fields: Any, required: tuple[str, ...], me: str = "") -> dict[str, Any]:
        if not isinstance(fields, dict):
            raise Refusal(self.error(400, "BadRequest", "Unable to read JSON request payload."))
        for name in required:
            if fields.get(name) in (None, ""):
                text = f"A value is required for property '{name}' of resource 'User'."
                raise Refusal(self.error(400, "Request_BadRequest", text))
        for name, value in fields.items():
            if value == "":
                text = f"Invalid value specified for property '{name}' of resource 'User'."
                raise Refusal(self.error(400, "Request_BadRequest", text))
        if "accountEnabled" in fields and not isinstance(fields["accountEnabled"], bool):
            raise Refusal(
                self.error(
                    400, "BadRequest", "A value without a type name was found and no expected type is available."
                )
            )
        if "userPrincipalName" in fields:
            self._refuse_foreign_domain(fields["userPrincipalName"])
            self._refuse_taken(fields["userPrincipalName"], me)
        return fields

    def _refuse_foreign_domain(self, name: str) -> None:
        if not name.lower().endswith(f"@{company.DOMAIN}"):
            text = (
                "The domain portion of the userPrincipalName property is invalid."
                " You must use one of the verified domain names in your organization."
            )
            raise Refusal(self.error(400, "Request_BadRequest", text))

    def _refuse_taken(self, name: str, me: str) -> None:
        if any(u["userPrincipalName"].lower() == name.lower() and u["id"] != me for u in self.records.all("users")):
            raise Refusal(self._taken("userPrincipalName"))

    def _missing(self, key: str) -> Answer:
        text = f"Resource '{key}' does not exist or one of its queried reference-property objects are not present."
        return self.error(404, "Request_ResourceNotFound", text)

    def _taken(self, what: str) -> Answer:
        text = f"Another object with the same value for property {what} already exists."
        answer = self.error(400, "Request_BadRequest", text)
        answer.body["error"]["details"] = [{"code": "ObjectConflict", "message": text, "target": what}]
        return answer

    def _store_user(self, id_: str, fields: Json) -> Json:
        return self.records.put("users", id_, {"assignedLicenses": [], "manager": None, **fields, "id": id_})

    def _store_group(self, id_: str, fields: Json) -> Json:
        usual: dict[str, Any] = {"mailEnabled": False, "securityEnabled": True, "groupTypes": [], "_members": []}
        usual["mailNickname"] = fields.get("uniqueName")
        return self.records.put("groups", id_, {**usual, **fields, "id": id_})

    def _set_members(self, group: Json, members: list[str]) -> None:
        self.records.change("groups", group["id"], {"_members": members})


def _shown(record: Json, names: list[str] | None) -> dict[str, Any]:
    """Return the properties a caller sees: those it selected, else all that are not hidden."""
    if names is not None:
        return {name.strip(): record.get(name.strip()) for name in [*names] if name.strip() not in _NOT_SHOWN}
    return {name: value for name, value in record.items() if name not in _NOT_SHOWN}
