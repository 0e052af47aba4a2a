"""The kit every connector has to pass: what it claims of itself is tried on a system.

``examine`` plays each rule against a connection and a sandbox (a simulator, a developer
tenant) that can be made to fail. A rule is proved, broken, or exempt for a reason that is
written down; the tier follows from what was proved. Called by the tests and by whoever
brings a connector of their own; it decides nothing at run time and is imported by nothing
that runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

import msgspec

from topstitch.connectors.contract import rule_problems
from topstitch.connectors.registry import Registry
from topstitch.foundation.canonical import digest
from topstitch.foundation.errors import NotAllowedError
from topstitch.model.action import ActionContract, SystemContract
from topstitch.model.orders import Grant, Outcome, Result, WriteCall

CALLERS: Final = 8
RETRY_AFTER_SECONDS: Final = 7
TRIES_MAX: Final = 4
PROVED: Final = "proved"


class Tier(StrEnum):
    """How much of a connector's behaviour was proved."""

    NONE = "none"
    BRONZE = "bronze"
    """It says what it does, and no call does what it must not."""
    SILVER = "silver"
    """A write happens once, whatever breaks."""
    GOLD = "gold"
    """What was only found stays, undoing is harmless, credentials renew by themselves."""


class Sandbox(Protocol):
    """A system that can be made to fail."""

    def fail(self, kind: str, match: Mapping[str, str], **more: Any) -> None:
        """Let the next call that matches meet a fault, once."""
        ...

    def heal(self) -> None:
        """Forget all faults."""
        ...

    def calls(self) -> Sequence[Mapping[str, Any]]:
        """Return every call received: ``method``, ``path``, ``write``."""
        ...

    def expire_tokens(self) -> None:
        """Let every token given out be refused."""
        ...

    def reset(self) -> None:
        """Start anew."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is examined: one connection, one write of it, and how the sandbox shows the effect."""

    registry: Registry
    alias: str
    sandbox: Sandbox
    reads: Sequence[tuple[str, Mapping[str, Any]]]
    write: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    count: Callable[[], int] = lambda: 0
    """How many records like the one that the write makes there are."""
    commit: Mapping[str, str] = field(default_factory=dict)
    """The request that makes it: ``method`` and ``path`` of a fault's match."""
    read_match: Mapping[str, str] = field(default_factory=dict)
    """The request of the first read."""
    renewal_path: str = "token"
    """What stands in the address from which tokens come."""
    stranger: Callable[[], None] | None = None
    """Puts the same thing there, as somebody else would."""
    vanish: Callable[[Mapping[str, Any]], None] | None = None
    """Removes, behind our back, what the write made; gets the write's output."""
    secrets: Sequence[str] = ()
    server_error: Result = Result.UNKNOWN
    """What a failure inside means for the write; a system that promises more says so."""
    exempt: Mapping[str, str] = field(default_factory=dict)
    """Rule -> why it cannot apply."""

    @property
    def contract(self) -> SystemContract:
        """The contract of what is behind the alias."""
        return self.registry.contract_of(self.alias)

    def action(self) -> ActionContract:
        """The contract of the examined write."""
        return self.contract.actions[str(self.write)]


class RuleBrokenError(AssertionError):
    """A connector does not do what it claims."""


@dataclass(slots=True)
class Report:
    """What came of an examination: rule -> ``proved``, ``exempt: why`` or what went wrong."""

    results: dict[str, str] = field(default_factory=dict)

    @property
    def tier(self) -> Tier:
        """The highest tier of which something was proved, and of which, as of those below, nothing is broken."""
        reached = Tier.NONE
        for tier in (Tier.BRONZE, Tier.SILVER, Tier.GOLD):
            rules = [name for name, (own, _) in RULES.items() if own is tier]
            if not all(map(self._holds, rules)):
                break
            if any(self.results.get(name) == PROVED for name in rules):
                reached = tier
        return reached

    @property
    def broken(self) -> dict[str, str]:
        """The rules that do not hold, and why."""
        return {name: said for name, said in self.results.items() if not self._holds(name)}

    def _holds(self, name: str) -> bool:
        said = self.results.get(name, "not tried")
        return said == PROVED or said.startswith("exempt")


class Examination:
    """One subject under examination; remembers every outcome it saw."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.seen: list[Outcome] = []
        self._rule = ""

    async def run(self, rule: str) -> str:
        """Play one rule and say what came of it."""
        if rule in self.subject.exempt:
            return f"exempt: {self.subject.exempt[rule]}"
        self._rule = rule
        self.subject.sandbox.reset()
        try:
            await RULES[rule][1](self)
        except RuleBrokenError as error:
            return str(error)
        finally:
            self.subject.sandbox.heal()
        return PROVED

    @property
    def key(self) -> str:
        """The idempotency key of the present rule."""
        return f"ins_conformance:{self._rule}"

    async def read(self, number: int = 0) -> Outcome:
        """Carry out one of the subject's reads."""
        action, params = self.subject.reads[number]
        return self._note(await self.subject.registry.reader(self.subject.alias).read(action, params))

    async def look_up(self) -> Outcome:
        """Ask whether the write happened."""
        reader = self.subject.registry.reader(self.subject.alias)
        return self._note(await reader.look_up(str(self.subject.write), self.subject.params, self.key))

    async def write(
        self, attempt: int = 1, *, action: str | None = None, params: Mapping[str, Any] | None = None
    ) -> Outcome:
        """Send the write once, with the rule's key."""
        return self._note(
            await self.subject.registry.writer(self.subject.alias).write(self.call(attempt, action, params))
        )

    def call(self, attempt: int = 1, action: str | None = None, params: Mapping[str, Any] | None = None) -> WriteCall:
        """Return the write as the engine would send it."""
        action = action or str(self.subject.write)
        params = self.subject.params if params is None else params
        return WriteCall(
            key=action,
            system=self.subject.alias,
            action=action,
            params=params,
            idempotency_key=self.key if action == self.subject.write else f"{self.key}/{action}",
            attempt=attempt,
            grant=Grant(decision="declared", by="system:conformance", payload_digest=digest(params)),
            instance="ins_conformance",
        )

    async def carry_through(self, attempt: int = 1) -> Outcome:
        """Do what the engine does: look before a first try if that is declared, and after an unknown one."""
        contract = self.subject.action()
        for number in range(attempt, attempt + TRIES_MAX):
            if contract.lookup and (number > 1 or (contract.idempotency and contract.idempotency.looks_first)):
                looked = await self.look_up()
                if looked.result is Result.OK and looked.value is not None:
                    return msgspec.structs.replace(looked, found=number == 1)
            outcome = await self.write(number)
            if outcome.result in (Result.OK, Result.REFUSED, Result.CREDENTIAL):
                return outcome
        raise RuleBrokenError(f"not done after {TRIES_MAX} tries: {outcome.problem}")

    async def undo(self, output: Mapping[str, Any], attempt: int = 1) -> Outcome:
        """Undo the write: the undo's input is looked for in the write's output, then in its input."""
        undo = self.subject.contract.actions[str(self.subject.action().undo)]
        known = {**self.subject.params, **output}
        params = {name: known[name] for name in undo.input.get("properties", {}) if name in known}
        return await self.write(attempt, action=undo.name, params=params)

    def expect(self, outcome: Outcome, *results: Result) -> Outcome:
        """Raise unless the outcome is one of ``results``."""
        if outcome.result not in results:
            raise RuleBrokenError(f"expected {', '.join(results)}, got {outcome.result}: {outcome.problem}")
        return outcome

    def expect_count(self, wanted: int) -> None:
        """Raise unless there are exactly so many records."""
        found = self.subject.count()
        if found != wanted:
            raise RuleBrokenError(f"expected {wanted} records, found {found}")

    def _note(self, outcome: Outcome) -> Outcome:
        self.seen.append(outcome)
        return outcome


def merged(reports: Sequence[Report]) -> Report:
    """Return one report on a connector of which several writes were examined.

    A rule is proved if one of them proves it and none breaks it.
    """
    together = Report()
    for rule in RULES:
        said = [report.results.get(rule, "not tried") for report in reports]
        broken = [one for one in said if one != PROVED and not one.startswith("exempt")]
        together.results[rule] = broken[0] if broken else PROVED if PROVED in said else said[0]
    return together


async def examine(subject: Subject) -> Report:
    """Play every rule; return what came of each."""
    examination, report = Examination(subject), Report()
    for rule in RULES:
        report.results[rule] = await examination.run(rule)
    return report


async def _describes_itself(exam: Examination) -> None:
    contract = exam.subject.contract
    if problems := rule_problems(contract):
        raise RuleBrokenError("; ".join(problems))
    if msgspec.json.decode(msgspec.json.encode(contract), type=SystemContract) != contract:
        raise RuleBrokenError("the contract does not survive being written as JSON")


async def _reads_do_not_write(exam: Examination) -> None:
    for number in range(len(exam.subject.reads)):
        exam.expect(await exam.read(number), Result.OK)
    wrote = _writes(exam)
    if wrote:
        raise RuleBrokenError(f"a read sent {wrote[0]['method']} {wrote[0]['path']}")


async def _writes_need_their_grant(exam: Examination) -> None:
    call = exam.call()
    other = msgspec.structs.replace(call.grant, payload_digest=digest({"another": "payload"}))
    try:
        await exam.subject.registry.writer(exam.subject.alias).write(msgspec.structs.replace(call, grant=other))
    except NotAllowedError:
        if _writes(exam):
            raise RuleBrokenError("something was sent although the write was not granted") from None
        return
    raise RuleBrokenError("a write went through on a grant for another payload")


async def _wrong_params_are_refused(exam: Examination) -> None:
    outcome = await exam.write(params={"no_such_field": 1})
    exam.expect(outcome, Result.REFUSED)
    if _writes(exam):
        raise RuleBrokenError("something was sent although the params do not fit")


async def _repeat_makes_one(exam: Examination) -> None:
    exam.expect(await exam.carry_through(), Result.OK)
    exam.expect(await exam.carry_through(attempt=2), Result.OK)
    exam.expect_count(1)


async def _lost_after_commit_makes_one(exam: Examination) -> None:
    exam.subject.sandbox.fail("drop_after_commit", exam.subject.commit)
    exam.expect(await exam.write(), Result.UNKNOWN)
    exam.expect(await exam.carry_through(attempt=2), Result.OK)
    exam.expect_count(1)


async def _lost_before_commit_makes_one(exam: Examination) -> None:
    exam.subject.sandbox.fail("down", exam.subject.commit)
    exam.expect(await exam.write(), Result.UNKNOWN, Result.TRANSIENT)
    exam.expect(await exam.carry_through(attempt=2), Result.OK)
    exam.expect_count(1)


async def _garbage_after_commit_makes_one(exam: Examination) -> None:
    exam.subject.sandbox.fail("bad_json", exam.subject.commit)
    exam.expect(await exam.write(), Result.UNKNOWN, Result.OK)
    exam.expect(await exam.carry_through(attempt=2), Result.OK)
    exam.expect_count(1)


async def _garbage_read_is_permanent(exam: Examination) -> None:
    exam.subject.sandbox.fail("bad_json", exam.subject.read_match)
    exam.expect(await exam.read(), Result.REFUSED)


async def _server_errors_are_classified(exam: Examination) -> None:
    exam.subject.sandbox.fail("500", exam.subject.read_match)
    exam.expect(await exam.read(), Result.TRANSIENT)
    if exam.subject.write is not None:
        exam.subject.sandbox.heal()
        exam.subject.sandbox.fail("500", exam.subject.commit)
        exam.expect(await exam.write(), exam.subject.server_error)


async def _throttling_is_heeded(exam: Examination) -> None:
    match = exam.subject.commit or exam.subject.read_match
    exam.subject.sandbox.fail("429", match, retry_after=RETRY_AFTER_SECONDS)
    outcome = exam.expect(await (exam.write() if exam.subject.write else exam.read()), Result.TRANSIENT)
    waits = outcome.problem.retry_after_seconds if outcome.problem else None
    if waits is None or waits < RETRY_AFTER_SECONDS:
        raise RuleBrokenError(f"asked to wait {RETRY_AFTER_SECONDS} s, the outcome says {waits}")


async def _found_is_told(exam: Examination) -> None:
    if exam.subject.stranger is None:
        raise RuleBrokenError("nothing says how a stranger makes the same thing; add stranger or an exemption")
    exam.subject.stranger()
    outcome = exam.expect(await exam.carry_through(), Result.OK)
    if not outcome.found:
        raise RuleBrokenError("what was there before was reported as made by us")
    exam.expect_count(1)


async def _undo_twice_is_harmless(exam: Examination) -> None:
    made = exam.expect(await exam.carry_through(), Result.OK)
    exam.expect(await exam.undo(made.value), Result.OK)
    exam.expect(await exam.undo(made.value, attempt=2), Result.OK)


async def _undo_of_gone_succeeds(exam: Examination) -> None:
    if exam.subject.vanish is None:
        raise RuleBrokenError("nothing says how the record vanishes; add vanish or an exemption")
    made = exam.expect(await exam.carry_through(), Result.OK)
    exam.subject.vanish(made.value)
    exam.expect(await exam.undo(made.value), Result.OK)


async def _token_is_renewed_once(exam: Examination) -> None:
    exam.expect(await exam.read(), Result.OK)
    exam.subject.sandbox.expire_tokens()
    before = len(_token_calls(exam))
    outcomes = await asyncio.gather(*(exam.read() for _ in range(CALLERS)))
    for outcome in outcomes:
        exam.expect(outcome, Result.OK)
    renewals = len(_token_calls(exam)) - before
    if renewals != 1:
        raise RuleBrokenError(f"{CALLERS} callers renewed the token {renewals} times")


async def _secrets_stay_hidden(exam: Examination) -> None:
    shown = msgspec.json.encode(exam.seen).decode()
    leaked = sum(secret in shown for secret in exam.subject.secrets)
    if leaked:
        raise RuleBrokenError(f"{leaked} of the connection's secrets stand in outcomes")


def _writes(exam: Examination) -> list[Mapping[str, Any]]:
    token = exam.subject.renewal_path
    return [call for call in exam.subject.sandbox.calls() if call["write"] and token not in call["path"]]


def _token_calls(exam: Examination) -> list[Mapping[str, Any]]:
    return [call for call in exam.subject.sandbox.calls() if exam.subject.renewal_path in call["path"]]


RULES: Final[Mapping[str, tuple[Tier, Callable[[Examination], Awaitable[None]]]]] = {
    "describes-itself": (Tier.BRONZE, _describes_itself),
    "reads-do-not-write": (Tier.BRONZE, _reads_do_not_write),
    "writes-need-their-grant": (Tier.BRONZE, _writes_need_their_grant),
    "wrong-params-are-refused": (Tier.BRONZE, _wrong_params_are_refused),
    "garbage-read-is-permanent": (Tier.BRONZE, _garbage_read_is_permanent),
    "server-errors-are-classified": (Tier.SILVER, _server_errors_are_classified),
    "repeat-makes-one": (Tier.SILVER, _repeat_makes_one),
    "lost-after-commit-makes-one": (Tier.SILVER, _lost_after_commit_makes_one),
    "lost-before-commit-makes-one": (Tier.SILVER, _lost_before_commit_makes_one),
    "garbage-after-commit-makes-one": (Tier.SILVER, _garbage_after_commit_makes_one),
    "throttling-is-heeded": (Tier.SILVER, _throttling_is_heeded),
    "found-is-told": (Tier.GOLD, _found_is_told),
    "undo-twice-is-harmless": (Tier.GOLD, _undo_twice_is_harmless),
    "undo-of-gone-succeeds": (Tier.GOLD, _undo_of_gone_succeeds),
    "token-is-renewed-once": (Tier.GOLD, _token_is_renewed_once),
    "secrets-stay-hidden": (Tier.BRONZE, _secrets_stay_hidden),
}
"""Rule -> the tier it belongs to and how it is tried. The last one looks at everything the others saw."""
