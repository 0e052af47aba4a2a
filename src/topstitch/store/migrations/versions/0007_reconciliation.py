"""Make room for reconciliation.

Follows 0006.
"""

from __future__ import annotations

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Bring a database of revision 0006 up to this one."""
