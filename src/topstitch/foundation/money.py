"""Decides what an amount of money is and how two of them compare.

Money is written ``2499.99 USD`` everywhere: in payloads, in the journal, in definitions.
Amounts are decimal, never binary fractions. Two currencies compare only through a rate
that somebody recorded; without one the comparison fails rather than guesses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

_MONEY = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?) ([A-Z]{3})")
NO_RATES: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """An amount in one currency."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        """Write it as ``2499.99 USD``."""
        return f"{self.amount} {self.currency}"


def parse_money(text: str) -> Money:
    """Read ``2499.99 USD``; raise ``ValueError`` when it is not written so."""
    match = _MONEY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an amount of money; write it as 2499.99 USD")
    return Money(amount=Decimal(match[1]), currency=match[2])


def compare(left: str, right: str, rates: Mapping[str, str] = NO_RATES) -> int:
    """Return -1, 0 or 1. ``rates`` maps ``EUR/USD`` to how many USD one EUR is worth."""
    mine, other = parse_money(left), parse_money(right)
    amount = mine.amount
    if mine.currency != other.currency:
        pair = f"{mine.currency}/{other.currency}"
        if pair not in rates:
            raise ValueError(f"no rate for {pair}; add it under [rates] in connections.toml")
        amount *= Decimal(rates[pair])
    return (amount > other.amount) - (amount < other.amount)


def add_money(amounts: Sequence[str]) -> str:
    """Return the sum of amounts of one currency; raise ``ValueError`` when there are several, or none."""
    read = [parse_money(amount) for amount in amounts]
    currencies = {one.currency for one in read}
    if len(currencies) != 1:
        raise ValueError("amounts of several currencies are not added up without a rate")
    return str(Money(amount=sum((one.amount for one in read), Decimal(0)), currency=currencies.pop()))
