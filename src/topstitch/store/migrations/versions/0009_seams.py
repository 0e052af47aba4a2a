"""Make room for seams.

Follows 0008.
"""

from __future__ import annotations

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Bring a database of revision 0008 up to this one."""
