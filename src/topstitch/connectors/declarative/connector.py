"""Carries out what a system's YAML file declares.

One request per call (more for paged lists); the answer is judged by the action's own error
rules, then the file's, then the default table, and read by compiled paths. The registry
opens it with ``open_declared``. It never computes, retries or remembers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from topstitch.connectors.auth import Auth, NoAuth, OAuth2, api_key, basic, bearer
from topstitch.connectors.contract import CallContext, Connector, Done, Given, NormalisedEvent, unreadable
from topstitch.connectors.declarative.compile import ABSENT, Chosen, Compiled, Pages, Rule, compile_document
from topstitch.connectors.declarative.document import Document, ErrorClass, load_document
from topstitch.connectors.http import Answer, HttpClient, parse_retry_after
from topstitch.foundation.errors import (
    ChangedError,
    ConnectorError,
    CredentialError,
    OperatorError,
    PermanentError,
    RequestError,
    TransientError,
    UnknownOutcomeError,
)

ACCEPTED = 202


def open_declared(given: Given, path: Path) -> Declared:
    """Read a system's file and return the connector of it; raise ``OperatorError`` with place and remedy."""
    document, text = load_document(path)
    for name in given.options:
        if name not in document.settings:
            raise OperatorError(
                "setting_unknown",
                f"connection {given.alias!r}: {path.name} knows no setting {name!r}; "
                f"use {', '.join(document.settings) or 'none'}, or add it under settings:",
            )
    settings = {name: str(given.options.get(name, default)) for name, default in document.settings.items()}
    contract, actions, events = compile_document(document, text, settings)
    if not (given.base_url or document.base_url):
        raise text.error(("base_url",), f"is said neither here nor for connection {given.alias!r}; add base_url")
    return Declared(given, document, contract, actions, events)


class Declared(Connector):
    """The connector of one file."""

    def __init__(
        self,
        given: Given,
        document: Document,
        contract: Any,
        actions: Mapping[str, Compiled],
        events: Mapping[str, Any],
    ) -> None:
        super().__init__(given)
        self.contract = contract
        self._document = document
        self._actions = actions
        self._events = events
        self._http = HttpClient(
            _at(given, document),
            title=contract.title,
            auth=_auth(given, document),
            classify=_good,
            headers=document.headers,
        )
        self._credential_words = [r for r in _shared(actions) if r.class_ is ErrorClass.CREDENTIAL]
        if self._credential_words:
            self._http.refused_when(self._says_expired)

    async def perform(self, action: str, params: Mapping[str, Any], call: CallContext) -> Done[Any]:
        """Send the action's request and read its answer."""
        compiled = self._actions[action]
        self._check(compiled, params)
        answer = await self._send(compiled, params, call)
        if self._absent(compiled, answer):
            return (
                Done(None)
                if compiled.looks_up or not compiled.writes
                else Done(self._from_input(compiled, params, call), found=call.first)
            )
        document = answer.json(writes=compiled.writes) if answer.body and compiled.output else None
        if compiled.pages is not None:
            document = await self._more_pages(compiled, compiled.pages, document, params, call)
        if compiled.pick is not None:
            document = self._picked(compiled, compiled.pick, document, params, call)
            if document is None:
                return self._none(compiled)
        return self._done(compiled, answer, document, params, call)

    def normalise_event(self, name: str, raw: Mapping[str, Any]) -> NormalisedEvent:
        """Find the declared event that fits, and read its identity and data."""
        candidates = [name] if name in self._events else list(self._events)
        for candidate in candidates:
            event = self._events[candidate]
            if all(get(raw) == wanted for get, wanted in event.where):
                return self._event(candidate, event, raw)
        raise RequestError(
            "event_unknown", f"{self.contract.ref} declares no event that fits; add it under events: or send another"
        )

    async def health(self) -> Mapping[str, Any]:
        """Carry out the read that the file names; without one, only say that the file is good."""
        if self._document.health is None:
            return {"ok": True, "checked": "file"}
        await self.perform(self._document.health, {}, CallContext(timeout_seconds=self.given.timeout_seconds))
        return {"ok": True, "checked": self._document.health}

    async def close(self) -> None:
        """Close the session."""
        await self._http.close()

    def _check(self, compiled: Compiled, params: Mapping[str, Any]) -> None:
        taken = 0
        for name, optional, check in compiled.checks:
            value = params.get(name)
            taken += name in params
            if value is None:
                if not optional:
                    raise self._bad_params(compiled, f"{name} is missing")
            elif not check(value):
                raise self._bad_params(compiled, f"{name} has another type than {_type(compiled, name)}")
        if taken != len(params):
            unknown = ", ".join(sorted(set(params) - {name for name, _, _ in compiled.checks}))
            raise self._bad_params(compiled, f"{unknown} is not taken")

    async def _send(self, compiled: Compiled, params: Mapping[str, Any], call: CallContext) -> Answer:
        query = None if compiled.query is None else compiled.query(params, call)
        answer = await self._http.request(
            compiled.method,
            compiled.url(params, call),
            call,
            query=query,
            body=None if compiled.body is None else compiled.body(params, call),
            form=None if compiled.form is None else compiled.form(params, call),
            headers=None if compiled.headers is None else compiled.headers(params, call),
            writes=compiled.writes,
        )
        self._judge(compiled, answer)
        return answer

    def _judge(self, compiled: Compiled, answer: Answer) -> None:
        """Raise what an answer means: by the first rule that fits, else by the default table."""
        for rule in compiled.rules:
            if _fits(rule, answer):
                if rule.class_ not in (ErrorClass.OK, ErrorClass.ABSENT):
                    raise self._http.heeded(self._error(rule, answer))
                return
        if answer.status in compiled.absent:
            return
        error = self._http.classify(answer, compiled.writes)
        if error is not None:
            raise self._http.heeded(error)

    def _absent(self, compiled: Compiled, answer: Answer) -> bool:
        if answer.status in compiled.absent:
            return True
        first = next((rule for rule in compiled.rules if _fits(rule, answer)), None) if compiled.rules else None
        return first is not None and first.class_ is ErrorClass.ABSENT

    def _error(self, rule: Rule, answer: Answer) -> ConnectorError:
        said = rule.message(answer.peek()) if rule.message is not None else None
        code = rule.code or f"status_{answer.status}"
        title = f"{self.contract.title} answered {answer.status}" + (f": {said}" if isinstance(said, str) else "")
        rest: dict[str, Any] = {"status": answer.status, "request_id": answer.request_id, "body": answer.text()}
        match rule.class_:
            case ErrorClass.TRANSIENT:
                wait = parse_retry_after(answer.headers.get(rule.wait_header), self.given.clock.now())
                return TransientError(code, f"{title}; it is tried again", retry_after_seconds=wait, **rest)
            case ErrorClass.CHANGED:
                return ChangedError(code, f"{title}; look at the record", **rest)
            case ErrorClass.UNKNOWN:
                return UnknownOutcomeError(code, f"{title}; it is looked up whether it was done", **rest)
            case ErrorClass.CREDENTIAL:
                return CredentialError(code, f"{title}; renew the credential of the connection", **rest)
            case _:
                return PermanentError(code, f"{title}; correct what is sent, or the record at the system", **rest)

    def _picked(
        self, compiled: Compiled, pick: Chosen, document: Any, params: Mapping[str, Any], call: CallContext
    ) -> Any:
        rows = pick.rows(document)
        if rows is not None and not isinstance(rows, list):
            raise unreadable(self.contract.title, "something that is no list of rows", writes=compiled.writes)
        wanted = [(get, fill(params, call)) for get, fill in pick.where]
        fitting = [row for row in rows or () if all(value is ABSENT or get(row) == value for get, value in wanted)]
        if len(fitting) > 1:
            raise PermanentError(
                "several_records",
                f"{self.contract.title} has {len(fitting)} records where {compiled.contract.name} means one; "
                "remove the ones that are not meant",
            )
        return fitting[0] if fitting else None

    def _none(self, compiled: Compiled) -> Done[Any]:
        if compiled.looks_up:
            return Done(None)
        raise PermanentError(
            "not_found",
            f"{self.contract.title} has no such record for {compiled.contract.name}; check what it was asked",
        )

    async def _more_pages(
        self, compiled: Compiled, pages: Pages, document: Any, params: Mapping[str, Any], call: CallContext
    ) -> Any:
        rows = list(pages.rows(document) or ())
        base = dict(compiled.query(params, call)) if compiled.query is not None else {}
        url, page = compiled.url(params, call), document
        for _ in range(pages.pages_max - 1):
            follow = self._next(pages, page, len(rows), url, base)
            if follow is None:
                return _with_rows(document, pages.rows_path, rows)
            answer = await self._http.request(
                compiled.method,
                follow[0],
                call,
                query=follow[1],
                body=None if compiled.body is None else compiled.body(params, call),
                headers=None if compiled.headers is None else compiled.headers(params, call),
                writes=compiled.writes,
            )
            self._judge(compiled, answer)
            page = answer.json()
            more = pages.rows(page) or ()
            if not more:
                return _with_rows(document, pages.rows_path, rows)
            rows += more
        raise PermanentError(
            "too_many_pages",
            f"{self.contract.title} has more than {pages.pages_max} pages for {compiled.contract.name}; "
            "narrow the read or raise pages_max",
        )

    def _next(
        self, pages: Pages, page: Any, count: int, url: str, base: dict[str, Any]
    ) -> tuple[str, dict[str, Any] | None] | None:
        """Return address and query of the next page, or nothing after the last."""
        if pages.next is not None:
            following = pages.next(page)
            return None if not following else (urljoin(self._http.base_url + url, str(following)), None)
        if pages.cursor is not None:
            cursor = pages.cursor(page)
            return None if not cursor else (url, {**base, str(pages.param): cursor})
        last = len(pages.rows(page) or ()) < (pages.page_size or 1)
        return None if last else (url, {**base, str(pages.param): count})

    def _done(
        self, compiled: Compiled, answer: Answer, document: Any, params: Mapping[str, Any], call: CallContext
    ) -> Done[Any]:
        value: dict[str, Any] = {}
        for name, fill, get, check, optional in compiled.output:
            found = fill(params, call) if fill is not None else get(document) if get is not None else None
            if found is None or found is ABSENT:
                if not optional:
                    raise self._shape(compiled, answer, f"no {name}")
            elif check(found):
                value[name] = found
            else:
                raise self._shape(compiled, answer, f"{name} in another type than {_type_out(compiled, name)}")
        found_only = answer.status in compiled.found and call.first
        record = None if compiled.record is None else _text(compiled.record(document))
        link = None if compiled.link is None else _text(compiled.link(document))
        return Done(value, found_only, record, link)

    def _from_input(self, compiled: Compiled, params: Mapping[str, Any], call: CallContext) -> dict[str, Any]:
        """Return the output of a write whose thing is already gone: what follows from the input and fixed values."""
        value = {}
        for name, fill, get, check, _ in compiled.output:
            found = fill(params, call) if fill is not None else get(None) if get is not None else None
            if found is not None and found is not ABSENT and check(found):
                value[name] = found
        return value

    def _event(self, name: str, event: Any, raw: Mapping[str, Any]) -> NormalisedEvent:
        data: dict[str, Any] = {}
        for field, get, check, optional in event.fields:
            value = get(raw)
            if value is None and optional:
                continue
            if value is None or not check(value):
                raise RequestError(
                    "event_invalid", f"{field} of {name} is missing or of another type; correct the sender"
                )
            data[field] = value
        identity = event.id(raw)
        if not isinstance(identity, str) or not identity:
            raise RequestError("event_invalid", f"{name} carries no id of its own; correct the sender")
        source = event.source(raw) if event.source is not None else None
        return NormalisedEvent(name, identity, f"{self.contract.name}:{source or self.given.alias}", data)

    def _says_expired(self, answer: Answer) -> bool:
        return any(_fits(rule, answer) for rule in self._credential_words)

    def _bad_params(self, compiled: Compiled, what: str) -> PermanentError:
        return PermanentError(
            "params_invalid",
            f"{self.contract.name}.{compiled.contract.name} cannot take these params: {what}; correct the step's with:",
        )

    def _shape(self, compiled: Compiled, answer: Answer, what: str) -> ConnectorError:
        return unreadable(
            self.contract.title,
            what,
            writes=compiled.writes,
            status=answer.status,
            request_id=answer.request_id,
            body=answer.text(),
        )


def _fits(rule: Rule, answer: Answer) -> bool:
    if rule.statuses is not None and answer.status not in rule.statuses:
        return False
    if rule.contains is not None and rule.contains not in answer.body:
        return False
    if rule.where:
        document = answer.peek()
        return all(get(document) == wanted for get, wanted in rule.where)
    return True


def _good(_answer: Answer, _writes: bool) -> None:
    """Let every answer pass: the action's own rules come first, see ``Declared._judge``."""


def _shared(actions: Mapping[str, Compiled]) -> list[Rule]:
    return list({id(rule): rule for action in actions.values() for rule in action.rules}.values())


def _auth(given: Given, document: Document) -> Auth:
    auth = document.auth
    match auth.type:
        case "none":
            return NoAuth()
        case "bearer":
            return bearer(given, auth.credential)
        case "basic":
            return basic(given, auth.username, auth.password)
        case "header":
            return api_key(given, auth.header, auth.credential)
        case "oauth2":
            url = urljoin(_at(given, document).base_url.rstrip("/") + "/", auth.token_url)
            return OAuth2(given, url, in_header=auth.client_in == "header", scope=auth.scope)


def _at(given: Given, document: Document) -> Given:
    """Return what was given, with the file's address where the connection names none."""
    if given.base_url:
        return given
    return Given(
        alias=given.alias,
        base_url=document.base_url,
        options=given.options,
        credentials=given.credentials,
        limits=given.limits,
        clock=given.clock,
        redactor=given.redactor,
        timeout_seconds=given.timeout_seconds,
        folder=given.folder,
    )


def _with_rows(document: Any, path: str, rows: list[Any]) -> Any:
    name, _, rest = path.partition(".")
    inner = _with_rows(document.get(name) or {}, rest, rows) if rest else rows
    return {**document, name: inner}


def _type(compiled: Compiled, name: str) -> str:
    return _word(compiled.contract.input["properties"][name])


def _type_out(compiled: Compiled, name: str) -> str:
    return _word(compiled.contract.output["properties"][name])


def _word(schema: Mapping[str, Any]) -> str:
    return str(schema.get("format") or schema.get("type") or "declared")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
