"""Decides what the exceptions at a seam mean: crossed, paging, or too few to judge.

An execution counts once however often it failed. *Crossed* is the literal rule of the
definition (more than 3 %) and always shows; it *pages* only with statistical support against
the target rate, or when the same failure hits instances in a row, which counting would see too
late. The text always holds the fraction. Pure; ``alerts`` and ``seams`` ask.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from topstitch.metrics.limits import DEFAULT, Limits


class Share(StrEnum):
    """What a share of exceptions amounts to."""

    QUIET = "quiet"
    """Within the limit, or too few to judge."""
    CROSSED = "crossed"
    """Over the limit; shown, and nobody is woken."""
    PAGING = "paging"
    """Over the limit, and not by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Executions that tried a seam, and how many of them had an exception there."""

    tried: int
    failed: int

    @property
    def share(self) -> float:
        """The share of exceptions; 0 without executions."""
        return self.failed / self.tried if self.tried else 0.0

    def text(self) -> str:
        """Write it as ``2 of 31 (6.5 %)``."""
        return f"{self.failed} of {self.tried} ({self.share * 100:.1f} %)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one execution at a seam came out. ``failure`` is its class, empty for success."""

    instance: str
    at_ms: int
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on a seam, in a word and in a sentence."""

    share: Share
    count: Count
    text: str
    in_a_row: int = 0
    failure: str = ""
    """What came in a row."""


def judge(
    count: Count,
    *,
    alert: float,
    target: float,
    outcomes: Sequence[Outcome] = (),
    longer: Count | None = None,
    limits: Limits = DEFAULT,
) -> Judgement:
    """Return the verdict on a window; ``longer`` is the same seam over more days, ``outcomes`` its latest ends."""
    in_a_row, failure = _in_a_row(outcomes)
    said = Judgement(share=Share.QUIET, count=count, text=count.text(), in_a_row=in_a_row, failure=failure)
    if in_a_row >= limits.same_in_a_row:
        return _with(said, Share.PAGING, f"{count.text()}; {failure} {in_a_row} times in a row")
    if not is_enough(count, limits):
        return _with(said, Share.QUIET, f"{count.text()}, too few to judge") if count.failed else said
    if count.share <= alert:
        return said
    if is_significant(count, target, limits):
        return _with(said, Share.PAGING, f"{count.text()}, significant against {_percent(target)}")
    if longer is None or longer.tried <= count.tried:
        return _with(said, Share.CROSSED, f"{count.text()}, not yet significant")
    if longer.share > alert and is_significant(longer, target, limits):
        return _with(said, Share.PAGING, f"{count.text()}; over more days {longer.text()}, significant")
    more = f"; over more days {longer.text()}"
    return _with(said, Share.CROSSED, f"{count.text()}, not yet significant{more}")


def is_enough(count: Count, limits: Limits = DEFAULT) -> bool:
    """Whether a share of so few means anything."""
    return count.tried >= limits.crossings_least or count.failed >= limits.exceptions_least


def is_significant(count: Count, target: float, limits: Limits = DEFAULT) -> bool:
    """Whether so many exceptions would be rarer than the limit if the seam kept its target."""
    return count.failed > 0 and chance_of(count.failed, count.tried, target) < limits.significance


def chance_of(failed: int, tried: int, rate: float) -> float:
    """Return the binomial chance of ``failed`` or more out of ``tried`` at a true ``rate``."""
    if failed <= 0:
        return 1.0
    if failed > tried or rate <= 0:
        return 0.0
    if rate >= 1:
        return 1.0
    fewer = math.fsum(_exactly(k, tried, rate) for k in range(failed))
    return max(0.0, 1.0 - fewer)


def _exactly(k: int, n: int, rate: float) -> float:
    logs = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(logs + k * math.log(rate) + (n - k) * math.log1p(-rate))


def _in_a_row(outcomes: Iterable[Outcome]) -> tuple[int, str]:
    """Return how many of the latest outcomes are one failure, each of another instance, and which."""
    seen: set[str] = set()
    failure = ""
    for outcome in sorted(outcomes, key=lambda o: (o.at_ms, o.instance), reverse=True):
        if not outcome.failure or (failure and outcome.failure != failure):
            break
        failure = outcome.failure
        seen.add(outcome.instance)
    return len(seen), failure


def _with(said: Judgement, share: Share, text: str) -> Judgement:
    return Judgement(share=share, count=said.count, text=text, in_a_row=said.in_a_row, failure=said.failure)


def _percent(rate: float) -> str:
    return f"{rate * 100:g} %"
