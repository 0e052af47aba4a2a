"""Make room for identity.

Follows 0004.
"""

from __future__ import annotations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Bring a database of revision 0004 up to this one."""
