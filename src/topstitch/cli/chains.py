"""Verifies the trail of a database in a few words: for the demo, ``doctor`` and ``audit verify``.

What is compared with what stands in ``audit.verify``. Where nothing was ever signed the chains alone speak. Without
settings there is no key and no anchor, so only a trail that was never signed can be verified.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from topstitch.audit.verify import Trust, Verdict, verify
from topstitch.store import Store
from topstitch.store.ledger_reader import open_ledger

if TYPE_CHECKING:
    from topstitch.settings import Settings


@dataclass(slots=True, kw_only=True)
class Chains:
    """What verifying came to."""

    instances: int = 0
    records: int = 0
    broken: list[str] = field(default_factory=list)
    """Each names the instance and the first record that does not hold, and what fits."""
    trust: Trust = Trust.UNSIGNED


async def verify_chains(store: Store, settings: Settings | None = None) -> Chains:
    """Verify everything; with settings also signatures, and what the anchors hold."""
    if settings is None:
        with open_ledger(store) as reader:
            return chains_of(verify(reader, keys=()))
    from topstitch.bootstrap.auditing import verdict_of

    verdict, _ = await verdict_of(settings, store)
    return chains_of(verdict)


def chains_of(verdict: Verdict) -> Chains:
    """Return a verdict in a few words."""
    ranked = sorted(verdict.findings, key=lambda finding: finding is not verdict.first)
    return Chains(
        instances=verdict.instances,
        records=verdict.records,
        broken=[f"{finding.fits}: {finding.message}" for finding in ranked],
        trust=verdict.trust,
    )
