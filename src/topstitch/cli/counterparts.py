"""Decides which request to the HTTP API does what a command does, for ``--as-curl``.

One table, by the command's path. A command that is not in it has no counterpart that one request could be. What the
API cannot be asked for is refused by the name of the option; an option that only says how it is printed, or who types,
is left out, which ``curl`` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import click

from topstitch.cli.reach import Finder, Given
from topstitch.cli.searching import search_of
from topstitch.cli.typed import address_of, body_of, changed, event_of, handed_in, sent, tag_of, text_of
from topstitch.foundation.errors import RequestError

ITEMS_MAX: Final = 200
"""The API gives at most so many of a list at once."""
CLOUD_EVENT: Final = "application/cloudevents+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request: where below the API, and what is sent."""

    method: str = "GET"
    address: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    keyed: bool = False
    """Whether it takes an ``Idempotency-Key``."""
    streams: bool = False


Way = Callable[[Given, Finder], Ask]


def _get(
    pattern: str, *, query: Mapping[str, str] | None = None, whole: bool = False, without: Sequence[str] = ()
) -> Way:
    """Return the way to read: ``query`` says which option becomes which parameter, ``without`` which has none."""

    def way(given: Given, find: Finder) -> Ask:
        _refuse(given, without)
        asked = {param: str(given[name]) for param, name in (query or {}).items() if given[name]}
        if given.get("every"):
            asked["status"] = "all"
        if whole:
            asked["limit"] = str(ITEMS_MAX)
        return Ask(address=find.address(pattern, given), query=asked)

    return way


def _post(
    pattern: str,
    body: Mapping[str, str],
    *,
    keyed: bool = True,
    without: Sequence[str] = (),
    fixed: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Way:
    """Return the way to act: ``body`` says which option becomes which field; one that was not given is left out."""

    def way(given: Given, find: Finder) -> Ask:
        _refuse(given, without)
        sent = {name: given[option] for name, option in body.items() if given[option] not in (None, ())}
        return Ask(
            method="POST",
            address=find.address(pattern, given),
            body={**(fixed or {}), **sent} if fixed or body else None,
            keyed=keyed,
            headers=headers or {},
        )

    return way


def _delete(pattern: str) -> Way:
    return lambda given, find: Ask(method="DELETE", address=find.address(pattern, given))


def _refuse(given: Given, names: Sequence[str]) -> None:
    for name in names:
        if given.get(name):
            raise RequestError("no-request", f"{_flag(name)} has no counterpart in the HTTP API; leave it out")


def _flag(name: str) -> str:
    """Return an argument or option of the present command as it is typed."""
    context = click.get_current_context(silent=True)
    options = context.command.params if context else []
    known = {option.name: option for option in options}
    if name in known and isinstance(known[name], click.Option):
        return max(known[name].opts, key=len)
    return name.upper()


def _one(given: Given, what: str) -> str:
    """Return the one thing that was named; raise when there are more, or none."""
    names = given["names"]
    if len(names) != 1 or given.get("group"):
        raise RequestError("no-request", f"one request is for one {what}; name one")
    return str(names[0])


# --- instances --------------------------------------------------------------------------------------


def _instances(given: Given, find: Finder) -> Ask:
    search, limit = search_of(given), given["limit"]
    if limit > ITEMS_MAX:
        find.notes.append(
            f"The API gives at most {ITEMS_MAX} at once; its answer's next is the after of the next request."
        )
    asked = {"q": search} if search else {}
    return Ask(address="/instances", query={**asked, "limit": str(min(limit, ITEMS_MAX))})


def _watch(given: Given, find: Finder) -> Ask:
    _refuse(given, ("timeout",))
    name = find.address("{instance}", given)
    if given["no_wait"]:
        return Ask(address=f"/instances/{name}/history", query={"limit": str(ITEMS_MAX)})
    return Ask(address=f"/instances/{name}/stream", streams=True)


def _retry(given: Given, find: Finder) -> Ask:
    ask = _post("/instances/{instance}/retry", {"reason": "reason", "step": "step"})(given, find)
    return _with(ask, {"input": dict(map(changed, given["changes"]))} if given["changes"] else {})


def _edit(given: Given, find: Finder) -> Ask:
    path, value = changed(given["change"])
    return _with(_post("/instances/{instance}/edit", {"reason": "reason"})(given, find), {"path": path, "value": value})


def _cancel(given: Given, find: Finder) -> Ask:
    if given["choice"] is None:
        raise RequestError("no-choice", "say what becomes of what is done: --rollback takes it back, --stop keeps it")
    return _post("/instances/{instance}/cancel", {"reason": "reason", "choice": "choice"})(given, find)


def _with(ask: Ask, more: Mapping[str, Any]) -> Ask:
    return replace(ask, body={**ask.body, **more})


def _trigger(given: Given, find: Finder) -> Ask:
    event = event_of(given["event_type"], given["fields"], given["source_file"], given["identity"], given["source"])
    del find
    return Ask(method="POST", address="/events", body=sent(event), media=CLOUD_EVENT)


# --- what waits for people ---------------------------------------------------------------------------


def _decide(answer: str) -> Way:
    """Return the way to decide; ``*`` for what was looked at, because a command does not say it either."""
    body = {"reason": "comment", "payload_digest": "digest"}
    match = {"If-Match": "*"}
    return _post("/approvals/{name}/decision", body, fixed={"decision": answer}, headers=match)


def _reassign(given: Given, find: Finder) -> Ask:
    instance = str(find.approval(given["name"])["instance"])
    body = {"item": given["name"], "to": given["to"], "reason": given["reason"]}
    return Ask(method="POST", address=f"/instances/{instance}/reassign", body=body, keyed=True)


def _done(given: Given, find: Finder) -> Ask:
    ask = _post("/tasks/{name}/done", {"comment": "comment"})(given, find)
    return _with(ask, {"output": handed_in(given["outputs"], given["output_json"], find.form(given["name"]))})


def _case(verb: str) -> Way:
    def way(given: Given, find: Finder) -> Ask:
        address = find.address("/exceptions/{name}", {"name": _one(given, "case")})
        return Ask(method="POST", address=f"{address}/{verb}", body={"reason": given["reason"]}, keyed=True)

    return way


def _discrepancies(given: Given, find: Finder) -> Ask:
    names = {"q": "query", "state": "state", "system": "system", "workflow": "workflow", "after": "after"}
    ask = _get("/discrepancies", query=names)(given, find)
    return Ask(address=ask.address, query={**ask.query, "limit": str(min(given["limit"], ITEMS_MAX))})


def _waive(given: Given, find: Finder) -> Ask:
    from topstitch.cli.when import moment
    from topstitch.foundation.timetext import rfc3339

    until = rfc3339(moment(given["end"], "--until", to_its_end=True))
    return _with(_post("/discrepancies/{name}/waive", {"reason": "reason"})(given, find), {"until": until})


# --- the rest ----------------------------------------------------------------------------------------


def _plan(given: Given, find: Finder) -> Ask:
    from topstitch.language.load import load

    if not given["dry_run"] or given["file"] is None:
        message = (
            "publishing takes three requests: the draft, its plan, the publication; /api/reference of the server has"
        )
        raise RequestError("no-request", f"{message} them. Of one, the plan, --dry-run --as-curl is the request")
    _refuse(given, ("planned", "parent"))
    text = text_of(Path(given["file"]))
    document = load(text, given["file"])
    name = document.data.get("workflow") if isinstance(document.data, dict) else None
    if not isinstance(name, str):
        raise RequestError("no-request", f"{given['file']} names no workflow; see topstitch validate")
    return Ask(method="POST", address=find.address("/workflows/{name}/plan", {"name": name}), body={"text": text})


def _pause(verb: str) -> Way:
    def way(given: Given, find: Finder) -> Ask:
        if ">" in given["name"]:
            raise RequestError("no-request", "the HTTP API pauses connections, and seams not; name a connection")
        return _post(f"/connectors/{{name}}/{verb}", {"reason": "reason"})(given, find)

    return way


def _test(given: Given, find: Finder) -> Ask:
    address = find.address("/connectors/{name}/test", {"name": _one(given, "connection")})
    return Ask(method="POST", address=address, keyed=True)


def _policy(given: Given, find: Finder) -> Ask:
    _refuse(given, ("environment",))
    return Ask(address=find.address("/policies/{name}", {"name": given["bundle"] or "in-force"}))


def _publish_policy(given: Given, find: Finder) -> Ask:
    _refuse(given, ("environment", "parent", "dry_run"))
    found = _proposals("/policies/proposals", given, find)
    if found is None:
        raise RequestError("no-request", "a folder is no one line; see POST /policies in /api/reference of the server")
    return found


def _load_calendar(given: Given, find: Finder) -> Ask:
    found = _proposals("/calendars/proposals", given, find)
    if found is None:
        message = "the HTTP API loads no calendar; it lists those that wait with --pending, and settles them"
        raise RequestError("no-request", message)
    return found


def _proposals(base: str, given: Given, find: Finder) -> Ask | None:
    """Return how what waits for a second person is listed or settled, if that is asked for."""
    if given["pending"]:
        return Ask(address=base)
    for verb in ("agree", "withdraw"):
        if given[verb]:
            address = find.address(f"{base}/{{name}}", {"name": given[verb]})
            return Ask(method="POST", address=f"{address}/{verb}", keyed=True)
    return None


def _preview(given: Given, find: Finder) -> Ask:
    body = {"action": "verb", "reason": "reason", "q": "query", "group": "group", "step": "step", "choice": "choice"}
    ask = _post("/batches/preview", body, without=("workflow", "statuses"))(given, find)
    named = {"instances": [find.instance(name) for name in given["names"]]} if given["names"] else {}
    return _with(ask, {**named, **({"edits": list(given["edits"])} if given["edits"] else {})})


def _export(given: Given, find: Finder) -> Ask:
    _refuse(given, ("output",))
    del find
    span = {name: given[name] for name in ("since", "until") if given[name]}
    whole = {name: text if "T" in text else f"{text}T00:00:00Z" for name, text in span.items()}
    return Ask(method="POST", address="/audit/exports", body={"format": given["form"], **whole})


def _verify(given: Given, find: Finder) -> Ask:
    _refuse(given, ("name", "keys", "kept"))
    del find
    return Ask(method="POST", address="/audit/verify")


def _checkpoint(given: Given, find: Finder) -> Ask:
    _refuse(given, ("output",))
    del find
    return Ask(method="POST", address="/audit/checkpoints", keyed=True)


def _token(given: Given, find: Finder) -> Ask:
    ask = _post("/tokens", {"name": "name", "days": "days"}, keyed=False, without=("bound_to",))(given, find)
    return _with(ask, {"scopes": list(given["scopes"])})


def _webhook(given: Given, find: Finder) -> Ask:
    ask = _post("/webhooks", {"url": "url", "description": "description"})(given, find)
    return _with(ask, {"types": list(given["types"]) or ["*"], **_signatures(given)})


def _rotate(given: Given, find: Finder) -> Ask:
    ask = _post("/webhooks/{name}/secret", {"overlap_hours": "overlap"})(given, find)
    return _with(ask, _signatures(given))


def _signatures(given: Given) -> dict[str, list[str]]:
    return {"signatures": list(given["signatures"])} if given["signatures"] else {}


def _deliveries(given: Given, find: Finder) -> Ask:
    address = find.address("/webhooks/{name}/deliveries", given)
    status = {"status": given["status"]} if given["status"] else {}
    return Ask(address=address, query={**status, "limit": str(min(given["last"], ITEMS_MAX))})


def _api_get(given: Given, find: Finder) -> Ask:
    del find
    return Ask(address=address_of(given["path"]))


def _api_post(given: Given, find: Finder) -> Ask:
    from topstitch.foundation.canonical import parse

    del find
    body, key, match = body_of(given["body"]), given["key"], given["match"]
    headers = {**({"Idempotency-Key": key} if key else {}), **({"If-Match": tag_of(match)} if match else {})}
    sent = None if body is None else parse(body)
    return Ask(method="POST", address=address_of(given["path"]), body=sent, headers=headers, keyed=True)


REASON: Final = {"reason": "reason"}
LISTED: Final = {"q": "query"}
ASKS: Final[Mapping[str, Way]] = {
    "instances": _instances,
    "instance show": _get("/instances/{instance}/picture"),
    "instance watch": _watch,
    "instance retry": _retry,
    "instance skip": _post("/instances/{instance}/skip", {**REASON, "step": "step"}),
    "instance pause": _post("/instances/{instance}/pause", REASON),
    "instance resume": _post("/instances/{instance}/resume", REASON),
    "instance cancel": _cancel,
    "instance edit": _edit,
    "instance reassign": _post("/instances/{instance}/reassign", {**REASON, "item": "item", "to": "to"}),
    "trigger": _trigger,
    "approvals list": _get("/approvals", query={**LISTED, "person": "person"}, whole=True),
    "approvals show": _get("/approvals/{name}"),
    "approvals approve": _decide("approve"),
    "approvals refuse": _decide("refuse"),
    "approvals reassign": _reassign,
    "tasks list": _get("/tasks", query=LISTED, whole=True, without=("group",)),
    "tasks show": _get("/tasks/{name}"),
    "tasks done": _done,
    "tasks fail": _post("/tasks/{name}/fail", {"reason": "because"}),
    "exceptions list": _get("/exceptions", query=LISTED, whole=True, without=("owner",)),
    "exceptions show": _get("/exceptions/{name}"),
    "exceptions take": _case("take"),
    "exceptions retry": _case("retry"),
    "exceptions waive": _case("waive"),
    "discrepancies list": _discrepancies,
    "discrepancies show": _get("/discrepancies/{name}"),
    "discrepancies recheck": _post("/discrepancies/{name}/recheck", REASON),
    "discrepancies repair": _post("/discrepancies/{name}/repair", REASON),
    "discrepancies accept": _post("/discrepancies/{name}/accept", REASON),
    "discrepancies waive": _waive,
    "workflows list": _get("/workflows", whole=True),
    "workflows versions": _get("/workflows/{name}/versions", whole=True),
    "publish": _plan,
    "seams": _get("/seams", query={"hours": "hours"}, whole=True, without=("workflow",)),
    "seam show": _get("/seams/{source}/{target}", query={"hours": "hours"}, without=("workflow",)),
    "connections list": _get("/connectors", whole=True),
    "connections test": _test,
    "connections pause": _pause("pause"),
    "connections resume": _pause("resume"),
    "policy list": _get("/policies", whole=True, without=("environment",)),
    "policy show": _policy,
    "policy publish": _publish_policy,
    "calendars list": _get("/calendars", whole=True),
    "calendars load": _load_calendar,
    "batch preview": _preview,
    "batch show": _get("/batches/{name}"),
    "api get": _api_get,
    "api post": _api_post,
    "audit show": _get("/instances/{instance}/audit", whole=True),
    "audit verify": _verify,
    "audit export": _export,
    "audit checkpoint": _checkpoint,
    "users list": _get("/users", whole=True),
    "users show": _get("/users/{name}"),
    "roles": _get("/roles", whole=True),
    "tokens list": _get("/tokens", whole=True, without=("owner",)),
    "tokens create": _token,
    "tokens revoke": _delete("/tokens/{name}"),
    "webhooks list": _get("/webhooks", whole=True),
    "webhooks add": _webhook,
    "webhooks rotate": _rotate,
    "webhooks remove": _delete("/webhooks/{name}"),
    "webhooks deliveries": _deliveries,
    "webhooks replay": _post("/webhooks/{name}/deliveries/{delivery}/replay", {}),
}
"""The command's path -> the request that does the same."""
