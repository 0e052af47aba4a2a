"""Decides how a distribution is kept small: a DDSketch with one per cent relative error, and exact quantiles.

Values fall into bins whose borders grow by a constant factor, so that any value of a bin is
within one per cent of the bin's middle. Two sketches are added bin by bin: the sum is the
sketch of both. Bins are never folded together; whole milliseconds up to a year make some 1,200.
After Masson, Rim and Lee, "DDSketch" (VLDB 2019). ``rollups`` keeps it, ``report`` and the
spark lines read it. It knows no time and no database.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import orjson

ACCURACY: Final = 0.01
"""A quantile is off by at most this share of the true value."""
_GAMMA: Final = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA: Final = math.log(_GAMMA)


class Sketch:
    """A distribution of values that are zero or more."""

    __slots__ = ("bins", "count", "zeros")

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.bins: dict[int, int] = {}
        self.zeros = 0
        self.count = 0
        for value in values:
            self.add(value)

    def add(self, value: float) -> None:
        """Count one value."""
        self.count += 1
        if value <= 0:
            self.zeros += 1
            return
        index = math.ceil(math.log(value) / _LOG_GAMMA)
        self.bins[index] = self.bins.get(index, 0) + 1

    def merge(self, other: Sketch) -> Sketch:
        """Return the sketch of both."""
        both = Sketch()
        both.count, both.zeros = self.count + other.count, self.zeros + other.zeros
        both.bins = dict(self.bins)
        for index, count in other.bins.items():
            both.bins[index] = both.bins.get(index, 0) + count
        return both

    def quantile(self, share: float) -> float | None:
        """Return the value below which ``share`` of the values lie, within ``ACCURACY``; nothing without values."""
        if not self.count:
            return None
        rank = rank_of(share, self.count)
        seen = self.zeros
        if seen > rank:
            return 0.0
        for index in sorted(self.bins):
            seen += self.bins[index]
            if seen > rank:
                return 2 * _GAMMA**index / (_GAMMA + 1)
        raise AssertionError("the counts of the bins do not add up")

    def text(self) -> str:
        """Write it down."""
        return orjson.dumps([self.zeros, sorted(self.bins.items())]).decode()

    @staticmethod
    def parse(text: str) -> Sketch:
        """Read it back."""
        sketch = Sketch()
        sketch.zeros, bins = orjson.loads(text)
        sketch.bins = dict(bins)
        sketch.count = sketch.zeros + sum(sketch.bins.values())
        return sketch


def rank_of(share: float, count: int) -> int:
    """Return which of ``count`` values in order, from 0, is the quantile: the nearest rank."""
    return min(max(math.ceil(share * count) - 1, 0), count - 1)


def quantile(values: Sequence[int], share: float) -> int | None:
    """Return the exact quantile by nearest rank; nothing without values."""
    return sorted(values)[rank_of(share, len(values))] if values else None


def median(values: Sequence[float]) -> float | None:
    """Return the exact median, the mean of the middle two when there are two; nothing without values."""
    if not values:
        return None
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2
