"""Decides what the functions of ours mean that expressions may call.

All are pure. None puts data in an exception: what a function raises would come back as the
text of the evaluation error, so each raises ``FunctionFailure`` with a fixed sentence.
``cel`` registers them; nobody else calls them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import date, timedelta
from typing import Final

from topstitch.foundation.money import NO_RATES, compare

RATES: Final[ContextVar[Mapping[str, str]]] = ContextVar("rates", default=NO_RATES)
"""The recorded rates of the evaluation at hand; ``Expression.evaluate`` sets them."""
MONEY_FUNCTIONS: Final = frozenset({"under", "over", "at_most"})
BUSINESS_DAYS_MAX: Final = 3_660
MARK: Final = "topstitch: "
"""Begins the text of every failure of ours, so that it can be told from the runtime's."""


class FunctionFailure(ValueError):  # noqa: N818 -- a failure inside the evaluation; the caller gets ExpressionError
    """A function cannot answer. The sentence holds no data."""

    def __init__(self, sentence: str) -> None:
        super().__init__(MARK + sentence)


def under(amount: str, limit: str) -> bool:
    """Whether the amount is less than the limit; equal is not under."""
    return _compare(amount, limit) < 0


def over(amount: str, limit: str) -> bool:
    """Whether the amount is more than the limit."""
    return _compare(amount, limit) > 0


def at_most(amount: str, limit: str) -> bool:
    """Whether the amount is the limit or less."""
    return _compare(amount, limit) <= 0


def date_add_business_days(day: str, count: int, holidays: Sequence[object] = ()) -> str:
    """Return the date ``count`` working days after ``day`` (before it when negative); Monday to Friday work."""
    if abs(count) > BUSINESS_DAYS_MAX:
        raise FunctionFailure(f"date_add_business_days goes {BUSINESS_DAYS_MAX} days at most; use a smaller number")
    free = {_date(str(holiday)) for holiday in holidays}
    current, left, step = _date(day), abs(count), timedelta(days=1 if count >= 0 else -1)
    try:
        while left:
            current += step
            if current.weekday() < 5 and current not in free:
                left -= 1
    except OverflowError:
        raise FunctionFailure("date_add_business_days leaves the calendar; use a smaller number") from None
    return current.isoformat()


def slug(text: str) -> str:
    """Return the text in small ASCII letters and digits, joined by hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def mask(text: str) -> str:
    """Return the first character and three stars, so that a person recognises it and nobody else can."""
    return f"{text[:1]}***"


def _compare(amount: str, limit: str) -> int:
    try:
        return compare(amount, limit, RATES.get())
    except ValueError as failure:
        pair = re.match(r"no rate for ([A-Z]{3}/[A-Z]{3});", str(failure))
        if pair:
            raise FunctionFailure(
                f"no rate for {pair[1]} is recorded; add it under [rates] in connections.toml"
            ) from None
        raise FunctionFailure('a value compared as money is not an amount; write amounts as "2499.99 USD"') from None


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise FunctionFailure("a value used as a date is not one; write dates as 2026-11-23") from None


TEXT_FUNCTIONS: Final[Mapping[str, Callable[[str], str]]] = {"slug": slug, "mask": mask}
MONEY_COMPARISONS: Final[Mapping[str, Callable[[str, str], bool]]] = {"under": under, "over": over, "at_most": at_most}
