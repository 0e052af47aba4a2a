"""Decides how a long-lived process of ours treats its memory.

``serve``, the demo and the benchmark call ``settle_memory`` once everything is loaded.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 20_000
"""How many new objects there may be before the collector looks; Python's own 700 makes it walk every instance in
flight hundreds of times a second, a fifth of all CPU at 100 in flight."""


def settle_memory() -> None:
    """Leave what is loaded out of every later collection, and collect less often: our values hold no circles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)
