"""Decides what a policy bundle demands of one write: its rules that fire, joined with its default for the tier.

A bundle is a versioned, content-addressed folder of rules; ``bundle_files`` reads one,
``policy`` joins it with the definition and records it. *Hard* rules deny, and no approval
releases them; *soft* rules ask people or tell them. Every rule is asked every time, in no
order that matters. A rule that cannot be worked out counts as fired: not knowing is no leave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec

from topstitch.foundation.canonical import digest
from topstitch.foundation.errors import OperatorError
from topstitch.foundation.money import NO_RATES
from topstitch.governance.facts import Parted, kept, recorded, split
from topstitch.governance.obligations import AUTO, Ruling, denial, gate, join_all, notice, parse_ruling
from topstitch.language.cel import SOURCE_LENGTH_MAX
from topstitch.language.expressions import (
    Expression,
    ExpressionError,
    Facts,
    Template,
    compile_template,
    runtime_expression,
)

FORMAT: Final = 1
"""The format of stored bundles. A new one comes with an upgrade from the one before."""
TIERS: Final = (1, 2, 3, 4)
BATCH_MAX: Final = 20
"""How many conditions are worked out together."""


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """How people are asked when a policy asks and the definition does not say how. Durations are seconds."""

    remind_seconds: int = 4 * 3600
    escalate_seconds: int = 24 * 3600
    escalate_to: str = "owner"
    give_up_seconds: int = 72 * 3600
    refused: str = "stop"
    unanswered: str = "stop"
    business_hours: bool = False
    """Whether these durations, and those of definitions, run in working hours only."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that fired, what it demands, and what it has read."""

    rule: str
    bundle: str
    digest: str
    ruling: Ruling
    read: Mapping[str, Any]
    error: str | None = None
    """Why it could not be worked out, when that is the reason."""

    def body(self) -> dict[str, Any]:
        """Return the reason as a record holds it."""
        body: dict[str, Any] = {
            "rule": self.rule,
            "bundle": self.bundle,
            "digest": self.digest,
            "read": dict(self.read),
        }
        body["demands"] = str(self.ruling)
        if self.error:
            body["error"] = self.error
        return body


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What bundles demand of one write, why, and the facts that all their rules have seen."""

    ruling: Ruling = AUTO
    reasons: tuple[Reason, ...] = ()
    facts: Mapping[str, Any] = {}
    absent: tuple[str, ...] = ()
    """The paths that led nowhere."""

    def join(self, other: Verdict) -> Verdict:
        """Return both, as strict as each."""
        return Verdict(
            ruling=self.ruling.join(other.ruling),
            reasons=self.reasons + other.reasons,
            facts={**self.facts, **other.facts},
            absent=tuple(sorted({*self.absent, *other.absent})),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. ``deny`` is the text of a hard one; a soft one has a ruling."""

    id: str
    when: str
    hard: bool
    demand: Mapping[str, Any]
    """``{deny: text}``, ``{approve: {from, quorum?, evidence?}}`` or ``{notify: who}``, as written."""

    def normal(self) -> dict[str, Any]:
        """Return the rule as it is stored."""
        return {"id": self.id, "when": self.when, **self.demand}


class Compiled:
    """A rule, ready to be asked."""

    __slots__ = ("condition", "paths", "rule", "ruling", "text")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.condition: Expression = runtime_expression(rule.when)
        self.text: Template | None = compile_template(rule.demand["deny"]) if rule.hard else None
        self.ruling = denial(rule.id, "") if rule.hard else demanded(rule.demand)
        self.paths = split(self.condition.paths | (self.text.paths if self.text else frozenset()))

    def asked(self, facts: Facts) -> tuple[Ruling, str | None] | None:
        """Return what the rule demands, and why it could not be worked out; nothing when it does not fire."""
        try:
            if not self.condition.holds(facts):
                return None
            error = None
        except ExpressionError as failure:
            error = failure.message
        if self.text is None:
            return self.ruling, error
        return denial(self.rule.id, self._said(facts, error)), error

    def _said(self, facts: Facts, error: str | None) -> str:
        if error is not None:
            return f"{self.rule.id} could not be worked out, and what is not known is not allowed"
        assert self.text is not None
        try:
            return str(self.text.render(facts))
        except ExpressionError:
            return str(self.rule.demand["deny"])


class Batch:
    """Rules whose conditions are worked out in one go: mostly none fires, and one evaluation costs little more."""

    __slots__ = ("conditions", "rules")

    def __init__(self, rules: tuple[Compiled, ...]) -> None:
        self.rules = rules
        self.conditions: Expression | None
        try:
            self.conditions = runtime_expression("[" + ", ".join(f"({one.rule.when}\n)" for one in rules) + "]")
        except ExpressionError:
            self.conditions = None

    def fired(self, facts: Facts) -> list[tuple[Compiled, Ruling, str | None]]:
        """Return each rule that fires, what it demands, and why it could not be worked out, if so."""
        suspects = self._suspects(facts)
        return [(one, *answer) for one in suspects if (answer := one.asked(facts)) is not None]

    def _suspects(self, facts: Facts) -> Iterable[Compiled]:
        """Return the rules that may fire: all of them when the conditions cannot be worked out together."""
        if self.conditions is None:
            return self.rules
        try:
            answers = self.conditions.evaluate(facts)
        except ExpressionError:
            return self.rules
        return [one for one, answer in zip(self.rules, answers, strict=True) if answer is not False]


def batches(rules: Iterable[Compiled]) -> tuple[Batch, ...]:
    """Return the rules in batches within the limits of one expression."""
    found: list[Batch] = []
    batch: list[Compiled] = []
    length = 0
    for one in rules:
        length += len(one.rule.when) + 6
        if batch and (length > SOURCE_LENGTH_MAX - 2 or len(batch) >= BATCH_MAX):
            found.append(Batch(tuple(batch)))
            batch, length = [], len(one.rule.when) + 6
        batch.append(one)
    return (*found, Batch(tuple(batch))) if batch else tuple(found)


def demanded(demand: Mapping[str, Any]) -> Ruling:
    """Return the ruling of a soft rule; raise ``ValueError`` with the remedy when it demands nothing."""
    if "notify" in demand:
        return notice(demand["notify"])
    approve = demand["approve"]
    evidence = approve.get("evidence", [])
    return gate(approve["from"], approve.get("quorum", 1), [evidence] if isinstance(evidence, str) else evidence)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One version of a policy, as read and checked."""

    name: str
    version: str
    owner: str
    rules: tuple[Rule, ...]
    defaults: Mapping[int, str]
    """Risk tier -> obligation, such as ``notify(owner)``."""
    asking: Asking
    tests: tuple[Mapping[str, Any], ...]

    @property
    def ref(self) -> str:
        """How records name it: ``standard@1.0.0``."""
        return f"{self.name}@{self.version}"

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` of the normal form."""
        return digest(self.normal())

    @cached_property
    def hard(self) -> tuple[Compiled, ...]:
        """The rules that deny."""
        return tuple(Compiled(rule) for rule in self.rules if rule.hard)

    @cached_property
    def soft(self) -> tuple[Compiled, ...]:
        """The rules that ask and tell."""
        return tuple(Compiled(rule) for rule in self.rules if not rule.hard)

    @cached_property
    def tiers(self) -> Mapping[int, Ruling]:
        """What each tier demands at least."""
        return {tier: parse_ruling(text) for tier, text in self.defaults.items()}

    def normal(self) -> dict[str, Any]:
        """Return the bundle as data: without comments, in one order, whatever the files were called."""
        ordered = sorted(self.rules, key=lambda rule: rule.id)
        return {
            "format": FORMAT,
            "policy": self.name,
            "version": self.version,
            "owner": {"team": self.owner},
            "hard": [rule.normal() for rule in ordered if rule.hard],
            "soft": [rule.normal() for rule in ordered if not rule.hard],
            "defaults": {f"tier_{tier}": self.defaults[tier] for tier in sorted(self.defaults)},
            "asking": msgspec.to_builtins(self.asking),
            "tests": [dict(test) for test in self.tests],
        }

    def decide(
        self, scope: Mapping[str, Any], rates: Mapping[str, str] = NO_RATES, *, hard: bool = True, soft: bool = True
    ) -> Verdict:
        """Return what this bundle demands of the write that ``scope`` describes (see ``facts``)."""
        facts = Facts(scope, rates)
        asked = self._batches if hard and soft else self._hard_batches if hard else self._soft_batches if soft else ()
        reasons = [self._reason(*fired, scope) for batch in asked for fired in batch.fired(facts)]
        if soft:
            reasons += self._default(scope)
        facts_read, absent = kept(scope, self._hard_paths if not soft else self._paths if hard else self._soft_paths)
        ruling = join_all(reason.ruling for reason in reasons)
        return Verdict(ruling=ruling, reasons=tuple(reasons), facts=facts_read, absent=absent)

    def _reason(self, one: Compiled, ruling: Ruling, error: str | None, scope: Mapping[str, Any]) -> Reason:
        read = recorded(scope, one.paths)
        return Reason(rule=one.rule.id, bundle=self.ref, digest=self.digest, ruling=ruling, read=read, error=error)

    def _default(self, scope: Mapping[str, Any]) -> list[Reason]:
        """Return what the tier demands; a tier that is none of the four counts as the highest."""
        risk = scope["step"]["risk"]
        tier = risk if risk in self.tiers else max(TIERS)
        ruling, read = self.tiers.get(tier, AUTO), {"step.risk": risk}
        if ruling == AUTO:
            return []
        return [Reason(rule=f"tier-{tier}", bundle=self.ref, digest=self.digest, ruling=ruling, read=read)]

    @cached_property
    def _batches(self) -> tuple[Batch, ...]:
        return batches((*self.hard, *self.soft))

    @cached_property
    def _hard_batches(self) -> tuple[Batch, ...]:
        return batches(self.hard)

    @cached_property
    def _soft_batches(self) -> tuple[Batch, ...]:
        return batches(self.soft)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that some rule reads."""
        return tuple(path for path, _ in self._paths)

    @cached_property
    def _hard_paths(self) -> tuple[Parted, ...]:
        return _all_paths(self.hard)

    @cached_property
    def _soft_paths(self) -> tuple[Parted, ...]:
        return _all_paths(self.soft, "step.risk")

    @cached_property
    def _paths(self) -> tuple[Parted, ...]:
        return _all_paths((*self.hard, *self.soft), "step.risk")


def _all_paths(rules: Iterable[Compiled], *more: str) -> tuple[Parted, ...]:
    return split({path for rule in rules for path, _ in rule.paths} | set(more))


def bundle_from_normal(data: Mapping[str, Any]) -> Bundle:
    """Return the bundle that was stored in normal form; raise ``OperatorError`` for a format not known here."""
    if data.get("format") != FORMAT:
        raise OperatorError(
            "bundle-format",
            f"a stored policy bundle has format {data.get('format')}; this program reads {FORMAT}: "
            "install the version that wrote it",
        )
    rules = [_rule(one, hard=True) for one in data["hard"]] + [_rule(one, hard=False) for one in data["soft"]]
    return Bundle(
        name=data["policy"],
        version=data["version"],
        owner=data["owner"]["team"],
        rules=tuple(rules),
        defaults={int(name.removeprefix("tier_")): text for name, text in data["defaults"].items()},
        asking=msgspec.convert(data["asking"], Asking),
        tests=tuple(data["tests"]),
    )


def _rule(data: Mapping[str, Any], *, hard: bool) -> Rule:
    demand = {name: value for name, value in data.items() if name not in ("id", "when")}
    return Rule(id=data["id"], when=data["when"], hard=hard, demand=demand)
