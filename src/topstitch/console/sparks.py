"""Decides what a seam's numbers say: p95, count, exceptions, trend; and draws the matrix of all seams.

Fed with handoffs as the store lists them. A cell's large number is its fault: the exception rate
where that is over its limit, else the latency. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Final

import msgspec
from markupsafe import escape

from topstitch.console import words
from topstitch.console.times import span
from topstitch.store.measures import Crossings
from topstitch.store.searches import Crossing

BUCKETS: Final = 24
EXCEPTION_TARGET, EXCEPTION_ALERT = 0.01, 0.03
TARGET_MS: Final = 60_000.0
ALERT_MS: Final = 300_000.0


class Seam(msgspec.Struct, frozen=True, kw_only=True):
    """One seam over a range."""

    source: str
    target: str
    count: int
    p50_ms: float
    p95_ms: float
    failed: int
    series: tuple[float | None, ...]
    """p95 by stretch of the range, in milliseconds."""

    @property
    def rate(self) -> float:
        """The share of crossings that became an exception."""
        return self.failed / max(self.count, self.failed, 1)

    @property
    def latency_tone(self) -> str:
        """The tone of its p95."""
        return words.seam_tone(self.p95_ms)

    @property
    def rate_tone(self) -> str:
        """The tone of its exception rate."""
        return "breach" if self.rate > EXCEPTION_ALERT else "warn" if self.rate > EXCEPTION_TARGET else "ok"

    @property
    def tone(self) -> str:
        """The worse of the two."""
        order = ("ok", "warn", "breach")
        return max(self.latency_tone, self.rate_tone, key=order.index)

    @property
    def headline(self) -> str:
        """The number that matters."""
        if order_of(self.rate_tone) > order_of(self.latency_tone):
            return f"{self.rate:.1%} fail".replace("%", " %")
        return span(self.p95_ms / 1000)

    @property
    def why(self) -> str:
        """What is over which limit, in a sentence."""
        if order_of(self.rate_tone) > order_of(self.latency_tone):
            return f"{self.failed} of {max(self.count, self.failed)} became exceptions, limit 3 %"
        return f"p95 {span(self.p95_ms / 1000)}, limit {'5 min' if self.latency_tone == 'breach' else '60 s target'}"


def order_of(tone: str) -> int:
    """Return how bad a tone is."""
    return ("ok", "warn", "breach").index(tone)


def seams(
    found: Sequence[Crossing], failures: Mapping[tuple[str, str], int], since: datetime, until: datetime
) -> dict[tuple[str, str], Seam]:
    """Return each seam that was crossed, or failed at."""
    groups: dict[tuple[str, str], list[Crossing]] = defaultdict(list)
    for one in found:
        if one.source != one.target:
            groups[one.source, one.target].append(one)
    for key in failures:
        if key[0] != key[1]:
            groups.setdefault(key, [])
    return {key: _seam(key, ones, failures.get(key, 0), since, until) for key, ones in groups.items()}


def gathered(
    found: Iterable[Crossings], failures: Mapping[tuple[str, str], int], slots: int = BUCKETS
) -> dict[tuple[str, str], Seam]:
    """Return each seam from crossings that were gathered by stretch: thousands of them cost little."""
    buckets: dict[tuple[str, str], list[list[int]]] = {}
    for one in found:
        if one.from_system != one.to_system:
            own = buckets.setdefault((one.from_system, one.to_system), [[] for _ in range(slots)])
            own[min(max(one.slot, 0), slots - 1)] += one.net_ms
    for key in failures:
        if key[0] != key[1]:
            buckets.setdefault(key, [[] for _ in range(slots)])
    return {key: _of_buckets(key, own, failures.get(key, 0)) for key, own in buckets.items()}


def _seam(key: tuple[str, str], ones: Sequence[Crossing], failed: int, since: datetime, until: datetime) -> Seam:
    width = (until - since) / BUCKETS or timedelta(seconds=1)
    buckets: list[list[int]] = [[] for _ in range(BUCKETS)]
    for one in ones:
        buckets[min(BUCKETS - 1, max(0, int((one.at - since) / width)))].append(one.net_ms)
    return _of_buckets(key, buckets, failed)


def _of_buckets(key: tuple[str, str], buckets: Sequence[list[int]], failed: int) -> Seam:
    values = sorted(ms for bucket in buckets for ms in bucket)
    return Seam(
        source=key[0],
        target=key[1],
        count=len(values),
        p50_ms=percentile(values, 0.5),
        p95_ms=percentile(values, 0.95),
        failed=failed,
        series=tuple(percentile(sorted(b), 0.95) if b else None for b in buckets),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile of sorted values: the nearest rank, never an interpolation."""
    if not values:
        return 0.0
    return float(values[max(ceil(len(values) * share), 1) - 1])


SPARK_LEAST: Final = 3
"""Fewer stretches than this are no trend."""


def spark(series: Sequence[float | None], width: float = 88, height: float = 16) -> str:
    """Draw a trend without axes; it says nothing that the number beside it does not."""
    known = [v for v in series if v is not None]
    if len(known) < SPARK_LEAST:
        return ""
    low, high = min(known), max(known)
    reach = (high - low) or 1
    points = [
        f"{k / (len(known) - 1) * width:.1f} {height - 2 - (v - low) / reach * (height - 4):.1f}"
        for k, v in enumerate(known)
    ]
    return (
        f'<svg class="spark" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        'preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<path vector-effect="non-scaling-stroke" d="M{"L".join(points)}"/></svg>'
    )


def line_svg(one: Seam, said: Sequence[tuple[float, str]], width: float = 328, height: float = 150) -> str:
    """Draw a seam's p95 over a range, with its limit dashed; ``said`` are the times under it, as shares of the width.

    The seam's own page has the chart that can be read value by value.
    """
    known = [v for v in one.series if v is not None]
    if not known:
        return ""
    limit = ALERT_MS if max(known) > TARGET_MS else TARGET_MS
    left, top, bottom = 60.0, 8.0, height - 22
    most = max(*known, limit) * 1.1
    step = (width - left - 8) / max(len(one.series) - 1, 1)

    def y(value: float) -> float:
        return bottom - value / most * (bottom - top)

    points = [f"{left + k * step:.1f} {y(v):.1f}" for k, v in enumerate(one.series) if v is not None]
    ticks = "".join(
        f'<path class="rule" d="M{left:g} {y(v):.1f}H{width:g}"/>'
        f'<text class="tick" x="{left - 8:g}" y="{y(v) + 4:.1f}">{span(v / 1000) if v else 0}</text>'
        for v in (0.0, most / 2, most)
    )
    times = "".join(
        f'<text class="when" x="{left + share * (width - left - 8):.1f}" y="{height - 4:g}">{escape(text)}</text>'
        for share, text in said
    )
    dots = "".join(f'<circle cx="{p.split()[0]}" cy="{p.split()[1]}" r="2.2"/>' for p in points)
    return (
        f'<svg class="line {one.tone}" viewBox="0 0 {width:g} {height:g}" aria-hidden="true" focusable="false">{ticks}'
        f'<path class="limit" d="M{left:g} {y(limit):.1f}H{width:g}"/><path class="value" d="M{"L".join(points)}"/>'
        f"{dots}{times}</svg>"
    )
