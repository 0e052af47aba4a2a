"""Decides whether one field is as it should be, and what a difference means.

Three values, never two: what was intended, what our journal says was committed, and what
is observed now. The pair that differs names the cause (``language.md`` 5.1).
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from topstitch.foundation.money import parse_money
from topstitch.foundation.timetext import parse_duration, parse_time
from topstitch.plan.plan import FieldPlan

MISSING = object()


def field_of(value: Any, path: str) -> Any:
    """Return what stands under a dotted path, or nothing."""
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def holds(rule: FieldPlan, expected: Any, observed: Any) -> bool:
    """Whether ``observed`` satisfies the rule, given what was expected."""
    match rule.rule:
        case "equals":
            return same(expected, observed, rule)
        case "includes":
            wanted = expected if isinstance(expected, list) else [expected]
            has = observed if isinstance(observed, list) else [observed]
            return all(any(same(one, other, rule) for other in has) for one in wanted)
        case "one_of":
            choices = expected if isinstance(expected, list) else [expected]
            return any(same(one, observed, rule) for one in choices)
        case "matches":
            flags = re.IGNORECASE if rule.ignore_case else 0
            return isinstance(observed, str) and re.fullmatch(str(expected), observed, flags) is not None
        case _:
            return (observed in (None, "", [], {})) is (expected is not False)


def same(expected: Any, observed: Any, rule: FieldPlan) -> bool:
    """Whether two values mean the same: money by amount and currency, dates by day, text by the rule's case."""
    if expected is None or observed is None:
        return expected is observed
    if rule.format == "money":
        return _same_money(str(expected), str(observed), rule.tolerance)
    if rule.format in ("date", "date-time"):
        return _same_time(str(expected), str(observed), rule)
    if isinstance(expected, list) and isinstance(observed, list):
        return _same_list(expected, observed, rule)
    if isinstance(expected, str) and isinstance(observed, str):
        one, other = expected.strip(), observed.strip()
        return one.casefold() == other.casefold() if rule.ignore_case else one == other
    if isinstance(expected, bool) or isinstance(observed, bool):
        return expected is observed
    if rule.tolerance is not None:
        return _near(expected, observed, rule.tolerance)
    return bool(expected == observed)


def cause(rule: FieldPlan, intended: Any, committed: Any, observed: Any) -> str:
    """Name what a difference means, from the pair that differs."""
    if holds(rule, intended, observed):
        return "agree"
    if committed is None:
        return "drift"
    ours = holds(rule, intended, committed)
    kept = committed == observed
    if ours:
        return "drift"
    return "superseded" if kept else "both"


def _same_list(expected: list[Any], observed: list[Any], rule: FieldPlan) -> bool:
    """Whether two lists hold the same, each as often, in whatever order."""
    left = list(observed)
    for one in expected:
        at = next((index for index, other in enumerate(left) if same(one, other, rule)), None)
        if at is None:
            return False
        del left[at]
    return not left


def _same_money(expected: str, observed: str, tolerance: str | None) -> bool:
    try:
        one, other = parse_money(expected), parse_money(observed)
    except ValueError:
        return expected == observed
    if one.currency != other.currency:
        return False
    return abs(one.amount - other.amount) <= _allowed(tolerance, one.currency)


def _allowed(tolerance: str | None, currency: str) -> Decimal:
    """Return by how much amounts of a currency may differ: a tolerance in another one allows nothing."""
    try:
        allowed = parse_money(tolerance or "")
    except ValueError:
        return Decimal(0)
    return allowed.amount if allowed.currency == currency else Decimal(0)


def _same_time(expected: str, observed: str, rule: FieldPlan) -> bool:
    allowed = timedelta(seconds=_seconds(rule.tolerance))
    try:
        if rule.format == "date":
            return abs(date.fromisoformat(expected[:10]) - date.fromisoformat(observed[:10])) <= allowed
        return abs(parse_time(expected) - parse_time(observed)) <= allowed
    except ValueError:
        return expected == observed


def _seconds(tolerance: str | None) -> int:
    try:
        return parse_duration(tolerance or "")
    except ValueError:
        return 0


def _near(expected: Any, observed: Any, tolerance: str) -> bool:
    try:
        return abs(Decimal(str(expected)) - Decimal(str(observed))) <= Decimal(tolerance)
    except InvalidOperation:
        return False
