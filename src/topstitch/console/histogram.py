"""Decides how a histogram of a list looks: how many began when, each bar a link that narrows the list to it.

Fed with counts by stretch of a time. The picture says nothing that the list does not; a reader hears
each bar's time and count. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from markupsafe import Markup, escape

WIDTH: Final = 960.0
HEIGHT: Final = 56.0
BARS: Final = 24


def histogram_svg(
    counts: Sequence[int],
    since: datetime,
    until: datetime,
    *,
    link: Callable[[datetime, datetime], str],
    said: Callable[[datetime], str],
) -> Markup:
    """Draw the bars. ``link`` narrows a list to a stretch; ``said`` writes a time in the page's zone."""
    most, width = max(counts, default=0), WIDTH / max(len(counts), 1)
    if not most:
        return Markup()
    step = (until - since) / len(counts)
    bars = []
    for k, count in enumerate(counts):
        if not count:
            continue
        begin, end = since + step * k, since + step * (k + 1)
        tall = max(3.0, count / most * (HEIGHT - 4))
        words = f"{count} started from {said(begin)} to {said(end)}"
        bars.append(
            f'<a href="{escape(link(begin, end))}"><title>{escape(words)}</title>'
            f'<rect class="under" x="{k * width:.1f}" y="0" width="{width:.1f}" height="{HEIGHT:g}"/>'
            f'<rect class="bar" x="{k * width + 1:.1f}" y="{HEIGHT - tall:.1f}" width="{width - 2:.1f}" '
            f'height="{tall:.1f}" rx="1.5"/></a>'
        )
    return Markup(  # noqa: S704 -- every text in it is escaped above
        f'<svg class="histogram" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none" role="group" '
        f'aria-label="When they started">{"".join(bars)}</svg>'
    )
