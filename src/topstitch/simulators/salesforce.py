"""A simulated Salesforce: token endpoint, sObject rows, upsert by external id, SOQL, composite, limits.

Sources: the vendor's REST API Developer Guide for addresses, status codes and bodies;
``README.md`` lists what is not faithful. Objects and their rules are in ``salesforce_objects``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final

from topstitch.foundation.timetext import parse_time
from topstitch.simulators import company, soql
from topstitch.simulators.oauth import Standing, credentials, issue, standing
from topstitch.simulators.salesforce_composite import Composite
from topstitch.simulators.salesforce_objects import ENDS, KEY, OBJECTS, SYSTEM_FIELDS, SObject
from topstitch.simulators.simulator import Simulator
from topstitch.simulators.state import Json
from topstitch.simulators.wire import Answer, Call, Endpoint, Refusal

DATA: Final = "/services/data/{version}"
ROW: Final = DATA + "/sobjects/{object}"
BATCH: Final = 2000
_USUAL: Final = {
    400: ("BAD_REQUEST", "The request could not be understood"),
    401: ("INVALID_SESSION_ID", "Session expired or invalid"),
    403: ("INSUFFICIENT_ACCESS", "insufficient access rights on object id"),
    404: ("NOT_FOUND", "The requested resource does not exist"),
    405: ("METHOD_NOT_ALLOWED", "HTTP Method not allowed"),
    409: ("CONFLICT", "The request could not be completed due to a conflict"),
    429: ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    500: ("UNKNOWN_EXCEPTION", "An unexpected error occurred. Please include this ErrorId if you contact support"),
    503: ("SERVER_UNAVAILABLE", "The server is unavailable"),
}
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


class SalesforceSimulator(Simulator):
    """The company's Salesforce org."""

    system: ClassVar[str] = "salesforce"
    defaults: ClassVar[Json] = {
        "client_id": "3MVG9sim.topstitch",
        "client_secret": "salesforce-sim-secret",
        "session_seconds": 7200,
        "daily_limit": 15000,
        "calls_today": 0,
        "limit_since": "",
        "fields": {},
    }
    published: ClassVar[tuple[str, ...]] = ("client_id", "client_secret")

    def endpoints(self) -> list[Endpoint]:
        """Return the addresses of the org."""
        by_key = ROW + "/{field}/{key}"
        plain = [
            Endpoint("POST", "/services/oauth2/token", self.token, open=True),
            Endpoint("GET", "/services/data", self.versions, open=True),
            Endpoint("GET", DATA + "/limits", self.limits),
            Endpoint("GET", DATA + "/query", self.query),
            Endpoint("GET", DATA + "/query/{cursor}", self.query_more),
            Endpoint("GET", DATA + "/sobjects", self.describe_all),
            Endpoint("GET", ROW + "/describe", self.describe),
            Endpoint("POST", ROW, self.create),
            Endpoint("GET", ROW + "/{id}", self.get),
            Endpoint("PATCH", ROW + "/{id}", self.update),
            Endpoint("DELETE", ROW + "/{id}", self.delete),
            Endpoint("GET", by_key, self.get_by_key),
            Endpoint("PATCH", by_key, self.upsert),
            Endpoint("DELETE", by_key, self.delete_by_key),
        ]
        composite = Composite(self.records.store, plain, self.error)
        return [*plain, Endpoint("POST", DATA + "/composite", composite.answer)]

    def seed(self) -> None:
        """Fill profiles, sales people as users, accounts, territories."""
        for name in ("Standard User", "Sales User", "System Administrator", "Read Only"):
            self._put_new("Profile", {"Name": name})
        for name in ("CEO", "Sales Director", "Account Executive", "Sales Development Rep"):
            self._put_new("UserRole", {"Name": name})
        sales_user = (self.records.first("Profile", Name="Sales User") or {})["Id"]
        for person in company.PEOPLE:
            if person.department in {"Sales", "Executive"}:
                self._put_new("User", _seeded_user(person, sales_user))
        for name in company.TERRITORIES:
            self._put_new(
                "Territory2",
                {"Name": name, "DeveloperName": name.replace("-", "_"), "Territory2ModelId": "0MA000000000001AAA"},
            )
        for name, territory in company.ACCOUNTS:
            self._put_new("Account", {"Name": name, "Territory__c": territory})
        self._put_new(
            "ForecastingType",
            {"DeveloperName": "OpportunityRevenue", "MasterLabel": "Opportunity Revenue", "IsActive": True},
        )

    # The vendor's manners

    def error(self, status: int, code: str = "", message: str = "") -> Answer:
        """Return an error: a list of one."""
        usual, text = _USUAL.get(status, ("UNKNOWN_EXCEPTION", ""))
        return Answer(status, [{"message": message or text, "errorCode": code or usual}])

    def throttled(self, retry_after: int) -> Answer:
        """Return 403, which is how this vendor says that there were too many calls."""
        answer = self.error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        answer.headers["Retry-After"] = str(retry_after)
        return answer

    def decorate(self, call: Call, answer: Answer) -> None:
        """Count the call and add the usage of the daily limit."""
        if call.bearer() and answer.status not in {401, 403}:
            self._start_new_day()
            self.configure({"calls_today": self.settings["calls_today"] + 1})
        answer.headers["Sforce-Limit-Info"] = f"api-usage={self.settings['calls_today']}/{self.settings['daily_limit']}"

    def is_write(self, call: Call) -> bool:
        """Count a composite of reads only as a read."""
        if call.path.endswith("/composite"):
            document = call.json()
            parts = document.get("compositeRequest", []) if isinstance(document, dict) else []
            return any(part.get("method") != "GET" for part in parts)
        return super().is_write(call)

    def key_of(self, call: Call) -> str:
        """Return the external id in the address, or every one inside a composite."""
        path, _, key = call.path.partition(f"/{KEY}/")
        if key:
            return key
        return (
            ",".join(dict.fromkeys(re.findall(KEY + r'/([^"/?]+)', call.body.decode("utf-8", "replace"))))
            if path
            else ""
        )

    def token(self, call: Call) -> Answer:
        """Give out a session for the client credentials flow."""
        client, secret = credentials(call)
        if call.form().get("grant_type") != "client_credentials":
            return Answer(400, {"error": "unsupported_grant_type", "error_description": "grant type not supported"})
        if client != self.settings["client_id"]:
            return Answer(400, {"error": "invalid_client_id", "error_description": "client identifier invalid"})
        if secret != self.settings["client_secret"]:
            return Answer(400, {"error": "invalid_client", "error_description": "invalid client credentials"})
        token = issue(self.records, self.clock, client=client, seconds=self.settings["session_seconds"])
        issued = str(int(self.clock.now().timestamp() * 1000))
        where = f"{call.base_url}/id/00D000000000001EAA/005000000000001AAA"
        body = {"access_token": token, "signature": "sim", "scope": "api", "instance_url": call.base_url, "id": where}
        return Answer(200, {**body, "token_type": "Bearer", "issued_at": issued})

    def authenticate(self, call: Call) -> None:
        """Refuse a call without a good session, or beyond the daily limit."""
        if standing(self.records, self.clock, call.bearer()) is not Standing.GOOD:
            raise Refusal(self.error(401))
        self._start_new_day()
        if self.settings["calls_today"] >= self.settings["daily_limit"]:
            raise Refusal(self.error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."))

    def _start_new_day(self) -> None:
        """Count 24 hours from the first call counted."""
        since = self.settings["limit_since"]
        if not since or self.clock.now() >= parse_time(since) + timedelta(hours=24):
            self.configure(
                {"calls_today": 0 if since else self.settings["calls_today"], "limit_since": self.now_text()}
            )

    def versions(self, _call: Call) -> Answer:
        """List API versions."""
        return Answer(200, [{"label": "Summer '24", "url": "/services/data/v61.0", "version": "61.0"}])

    def limits(self, _call: Call) -> Answer:
        """Return the daily limit and what is left."""
        limit, used = self.settings["daily_limit"], self.settings["calls_today"]
        return Answer(200, {"DailyApiRequests": {"Max": limit, "Remaining": max(0, limit - used)}})

    # Rows

    def create(self, call: Call) -> Answer:
        """Create a row."""
        row = self._create(call.params["object"], self._document(call))
        return Answer(201, {"id": row["Id"], "success": True, "errors": []})

    def get(self, call: Call) -> Answer:
        """Return a row by id."""
        return self._shown(call, self._row(call))

    def get_by_key(self, call: Call) -> Answer:
        """Return a row by external id."""
        rows = self._by_key(call)
        if len(rows) > 1:
            return self._several(call, rows)
        if not rows:
            raise Refusal(self.error(404))
        return self._shown(call, rows[0])

    def update(self, call: Call) -> Answer:
        """Change a row."""
        row = self._row(call)
        self._change(call.params["object"], row, self._document(call))
        return Answer(204)

    def upsert(self, call: Call) -> Answer:
        """Create or change the row with an external id: 201, 200, or 300 if several carry it."""
        name, field, key = call.params["object"], call.params["field"], call.params["key"]
        fields = self._document(call)
        if field in fields:
            text = f"The {field} field should not be specified in the sobject data."
            raise Refusal(self.error(400, "INVALID_FIELD", text))
        rows = self._by_key(call)
        if len(rows) > 1:
            return self._several(call, rows)
        if rows:
            self._change(name, rows[0], fields)
            return Answer(200, {"id": rows[0]["Id"], "success": True, "errors": [], "created": False})
        row = self._create(name, {**fields, field: key})
        return Answer(201, {"id": row["Id"], "success": True, "errors": [], "created": True})

    def delete(self, call: Call) -> Answer:
        """Delete a row."""
        return self._delete(call.params["object"], self._row(call))

    def delete_by_key(self, call: Call) -> Answer:
        """Delete the row with an external id."""
        rows = self._by_key(call)
        if not rows:
            raise Refusal(self.error(404))
        return self._several(call, rows) if len(rows) > 1 else self._delete(call.params["object"], rows[0])

    # Queries

    def query(self, call: Call) -> Answer:
        """Answer a SOQL query."""
        try:
            query = soql.parse(call.query.get("q", ""))
        except soql.SoqlError as error:
            raise Refusal(self.error(400, "MALFORMED_QUERY", str(error))) from error
        self._refuse_unknown(query)
        rows = query.select(self.records.all(query.object), lambda row, name: self._reach(query.object, row, name))
        if query.counts:
            return Answer(200, {"totalSize": len(rows), "done": True, "records": []})
        found = [self._projected(query, row) for row in rows]
        return self._batch(call, found, 0)

    def query_more(self, call: Call) -> Answer:
        """Return the next batch of a query."""
        cursor, _, start = call.params["cursor"].partition("-")
        kept = self.records.get("_cursors", cursor)
        if kept is None:
            raise Refusal(self.error(400, "INVALID_QUERY_LOCATOR", "invalid query locator"))
        return self._batch(call, kept["rows"], int(start), cursor)

    def _batch(self, call: Call, rows: list[Any], start: int, cursor: str = "") -> Answer:
        asked = re.search(r"batchSize=(\d+)", call.headers.get("sforce-query-options", ""))
        size = min(BATCH, max(200, int(asked[1]))) if asked else BATCH
        body: dict[str, Any] = {
            "totalSize": len(rows),
            "done": start + size >= len(rows),
            "records": rows[start : start + size],
        }
        if not body["done"]:
            cursor = cursor or f"01g{self.records.number('cursor'):012d}"
            self.records.put("_cursors", cursor, {"rows": rows})
            body["nextRecordsUrl"] = f"/services/data/{call.params['version']}/query/{cursor}-{start + size}"
        return Answer(200, body)

    def _refuse_unknown(self, query: soql.Query) -> None:
        if query.object not in OBJECTS:
            raise Refusal(self.error(400, "INVALID_TYPE", f"sObject type '{query.object}' is not supported."))
        for name in [*query.fields, *query.names]:
            if "(" not in name and not self._known(query.object, name):
                text = f"No such column '{name}' on entity '{query.object}'."
                raise Refusal(self.error(400, "INVALID_FIELD", text))

    def _known(self, name: str, field: str) -> bool:
        first, _, rest = field.partition(".")
        if not rest:
            return first in self._fields(name)
        target = _relations(name).get(first)
        return target is not None and self._known(target[1], rest)

    def _projected(self, query: soql.Query, row: Json) -> dict[str, Any]:
        names = self._fields(query.object) if query.fields[0].startswith("FIELDS(") else query.fields
        shown: dict[str, Any] = {"attributes": _attributes(query.object, row["Id"])}
        for name in names:
            first, _, rest = name.partition(".")
            if not rest:
                shown[name] = row.get(name)
                continue
            field, target = _relations(query.object)[first]
            referred = self.records.get(target, str(row.get(field)))
            inner = shown.setdefault(first, {"attributes": _attributes(target, row.get(field))}) if referred else None
            if inner is None:
                shown[first] = None
            else:
                inner[rest] = self._reach(target, referred or {}, rest)
        return shown

    def _reach(self, name: str, row: Json, field: str) -> Any:
        first, _, rest = field.partition(".")
        if not rest:
            return row.get(first)
        own, target = _relations(name)[first]
        referred = self.records.get(target, str(row.get(own)))
        return self._reach(target, referred, rest) if referred else None

    # Describe

    def describe_all(self, _call: Call) -> Answer:
        """List the objects."""
        shown = [
            {"name": name, "keyPrefix": known.prefix, "deletable": known.can_delete} for name, known in OBJECTS.items()
        ]
        return Answer(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": shown})

    def describe(self, call: Call) -> Answer:
        """Describe one object's fields."""
        name = call.params["object"]
        known = self._object(name)
        references = dict(known.references)
        fields = [
            {
                "name": field,
                "type": "boolean"
                if field in known.booleans
                else "reference"
                if field in references
                else "id"
                if field == "Id"
                else "string",
                "nillable": field not in known.required,
                "externalId": field == KEY,
                "unique": field == KEY or (field,) in known.unique,
                "referenceTo": [references[field]] if field in references else [],
            }
            for field in self._fields(name)
        ]
        return Answer(200, {"name": name, "keyPrefix": known.prefix, "deletable": known.can_delete, "fields": fields})

    # Helpers

    def _create(self, name: str, fields: Mapping[str, Any]) -> Json:
        known = self._object(name)
        self._refuse_bad(name, fields, me="")
        missing = [field for field in known.required if fields.get(field) in (None, "")]
        if missing:
            raise Refusal(
                self._field_error(
                    "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", missing
                )
            )
        return self._put_new(name, fields)

    def _change(self, name: str, row: Json, fields: Mapping[str, Any]) -> None:
        self._refuse_bad(name, fields, me=row["Id"])
        stamp = self._stamp()
        more = ENDS.get(str(fields.get("StageName")), {}) if name == "Opportunity" else {}
        self.records.change(name, row["Id"], {**fields, **more, "LastModifiedDate": stamp, "SystemModstamp": stamp})

    def _delete(self, name: str, row: Json) -> Answer:
        if not self._object(name).can_delete:
            raise Refusal(
                self.error(
                    405, "METHOD_NOT_ALLOWED", f"HTTP Method 'DELETE' not allowed on {name}. Set IsActive to false."
                )
            )
        self.records.delete(name, row["Id"])
        self.records.put("_recycle_bin", row["Id"], {**row, "IsDeleted": True})
        return Answer(204)

    def _refuse_bad(self, name: str, fields: Mapping[str, Any], me: str) -> None:
        known = self._object(name)
        for field, value in fields.items():
            if field not in self._fields(name):
                raise Refusal(self.error(400, "INVALID_FIELD", f"No such column '{field}' on sobject of type {name}"))
            if field in known.booleans and not isinstance(value, bool):
                text = f"Cannot deserialize instance of boolean from VALUE_STRING value {value}"
                raise Refusal(self.error(400, "JSON_PARSER_ERROR", text))
            if field in known.required and value in (None, "") and me:
                raise Refusal(
                    self._field_error("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{field}]", [field])
                )
        self._refuse_dangling(known, fields)
        self._refuse_taken(name, known, fields, me)

    def _refuse_dangling(self, known: SObject, fields: Mapping[str, Any]) -> None:
        for field, target in known.references:
            value = fields.get(field)
            if value is None:
                continue
            if self.records.get(target, str(value)) is None:
                text = f"insufficient access rights on cross-reference id: {value}"
                raise Refusal(self._field_error("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", text, [field]))

    def _refuse_taken(self, name: str, known: SObject, fields: Mapping[str, Any], me: str) -> None:
        current = self.records.get(name, me) or {}
        for group in known.unique:
            wanted = [_folded({**current, **fields}.get(field)) for field in group]
            if not any(field in fields for field in group) or None in wanted:
                continue
            for row in self.records.all(name):
                if row["Id"] != me and [_folded(row.get(field)) for field in group] == wanted:
                    code = "DUPLICATE_USERNAME" if group == ("Username",) else "DUPLICATE_VALUE"
                    text = f"duplicate value found: {', '.join(group)} duplicates value on record with id: {row['Id']}"
                    raise Refusal(self._field_error(code, text, list(group)))

    def _field_error(self, code: str, text: str, fields: list[str]) -> Answer:
        return Answer(400, [{"message": text, "errorCode": code, "fields": fields}])

    def _put_new(self, name: str, fields: Mapping[str, Any]) -> Json:
        known = OBJECTS[name]
        id_ = _id(known.prefix, self.records.number(name))
        stamp = self._stamp()
        made = {"Id": id_, "CreatedDate": stamp, "LastModifiedDate": stamp, "SystemModstamp": stamp, "IsDeleted": False}
        usual: dict[str, Any] = dict.fromkeys(known.fields)
        usual |= dict.fromkeys(known.booleans, False)
        if "IsActive" in known.booleans:
            usual["IsActive"] = True
        more = ENDS.get(str(fields.get("StageName")), {}) if name == "Opportunity" else {}
        row = {**usual, **made, **fields, **more}
        if name == "User":
            row["Name"] = " ".join(filter(None, (row["FirstName"], row["LastName"])))
        return self.records.put(name, id_, row)

    def _object(self, name: str) -> SObject:
        if name not in OBJECTS:
            raise Refusal(self.error(404))
        return OBJECTS[name]

    def _fields(self, name: str) -> list[str]:
        return [*SYSTEM_FIELDS, *self._object(name).fields, *self.settings["fields"].get(name, [])]

    def _row(self, call: Call) -> Json:
        self._object(call.params["object"])
        row = self.records.get(call.params["object"], call.params["id"])
        if row is None:
            raise Refusal(
                self.error(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible")
            )
        return row

    def _by_key(self, call: Call) -> list[Json]:
        name, field = call.params["object"], call.params["field"]
        if field not in self._fields(name):
            raise Refusal(
                self.error(404, "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {field}")
            )
        return self.records.find(name, **{field: call.params["key"]})

    def _several(self, call: Call, rows: list[Json]) -> Answer:
        version, name = call.params["version"], call.params["object"]
        return Answer(300, [f"/services/data/{version}/sobjects/{name}/{row['Id']}" for row in rows])

    def _shown(self, call: Call, row: Json) -> Answer:
        name = call.params["object"]
        names = [field for field in call.query.get("fields", "").split(",") if field] or list(row)
        for field in names:
            if field not in self._fields(name):
                raise Refusal(self.error(400, "INVALID_FIELD", f"No such column '{field}' on sobject of type {name}"))
        return Answer(200, {"attributes": _attributes(name, row["Id"]), **{field: row.get(field) for field in names}})

    def _document(self, call: Call) -> dict[str, Any]:
        document = call.json()
        if not isinstance(document, dict) or (call.body and not document and call.body.strip() != b"{}"):
            raise Refusal(self.error(400, "JSON_PARSER_ERROR", "Unexpected character in the request body"))
        return {name: value for name, value in document.items() if name != "attributes"}

    def _stamp(self) -> str:
        return f"{self.clock.now():%Y-%m-%dT%H:%M:%S.000+0000}"


def _relations(name: str) -> dict[str, tuple[str, str]]:
    """Return relationship name -> (own field, object referred to)."""
    return {field.removesuffix("Id"): (field, target) for field, target in OBJECTS[name].references}


def _attributes(name: str, id_: Any) -> dict[str, str]:
    return {"type": name, "url": f"/services/data/v61.0/sobjects/{name}/{id_}"}


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _id(prefix: str, number: int) -> str:
    """Return an 18-character id: 15 characters and the vendor's checksum over their case."""
    short = f"{prefix}{number:012d}"
    checksum = ""
    for start in (0, 5, 10):
        bits = sum(1 << place for place, letter in enumerate(short[start : start + 5]) if letter.isupper())
        checksum += _ALPHABET[bits]
    return short + checksum


def _seeded_user(person: company.Person, profile: str) -> dict[str, Any]:
    return {
        "Username": person.email,
        "FirstName": person.first,
        "LastName": person.last,
        "Email": person.email,
        "Alias": (person.first[:1] + person.last)[:8].lower(),
        "ProfileId": profile,
        "TimeZoneSidKey": "Europe/Berlin",
        "LocaleSidKey": "en_GB",
        "EmailEncodingKey": "UTF-8",
        "LanguageLocaleKey": "en_US",
        "Title": person.title,
        "FederationIdentifier": person.email,
        "EmployeeNumber": person.worker_id,
        "Department": person.department,
        "ForecastEnabled": True,
    }
