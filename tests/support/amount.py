"""How much of the randomised tests to do: what CI does, or, in a soak, more of it with seeds nobody has tried.

``tools/soak.py`` sets ``TOPSTITCH_SOAK`` to the number of its round.
"""

from __future__ import annotations

import os
from typing import Final

ROUND: Final = int(os.environ.get("TOPSTITCH_SOAK", "0"))
SOAKS: Final = ROUND > 0
SEEDS_EACH_ROUND: Final = 1_000_000


def seeds(count: int, chunks: int, *, soak_times: int = 5) -> list[range]:
    """Return ``count`` seeds in ``chunks`` ranges: always the same in CI, others in each round of a soak."""
    count *= soak_times if SOAKS else 1
    first, size = ROUND * SEEDS_EACH_ROUND, count // chunks
    return [range(first + chunk * size, first + (chunk + 1) * size) for chunk in range(chunks)]
