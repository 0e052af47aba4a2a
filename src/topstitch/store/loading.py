"""Decides how stored rows of the journal are read back, and whether they are all there."""

from __future__ import annotations

from collections.abc import Sequence

from topstitch.foundation.errors import TamperError
from topstitch.model.record import Record
from topstitch.store import sql
from topstitch.store.database import Backend
from topstitch.store.sealing import StoredRow
from topstitch.store.values import Lease


def load_rows(backend: Backend, instances: Sequence[str], *, after: int = 0) -> dict[str, list[StoredRow]]:
    """Read the stored rows of instances, in order."""
    found: dict[str, list[StoredRow]] = {}
    if instances:
        for instance, seq, hash_hex, text, ciphertext in backend.fetch(sql.LOAD, [(name, after) for name in instances]):
            found.setdefault(instance, []).append(StoredRow(seq, hash_hex, text or "", ciphertext))
    for rows in found.values():
        rows.sort(key=_seq)
    return found


def _seq(row: StoredRow) -> int:
    return row.seq


def require_head(lease: Lease, records: Sequence[Record]) -> None:
    """Raise when the journal ends elsewhere than the instance's row says."""
    if len(records) != lease.seq or (records and records[-1].hash != lease.hash):
        raise TamperError(
            "chain-cut",
            f"the journal of {lease.instance} ends at record {len(records)}, its row says {lease.seq}; run "
            "`topstitch audit verify` and compare with a backup",
        )
