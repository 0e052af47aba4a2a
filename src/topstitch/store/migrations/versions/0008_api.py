"""Make room for api.

Follows 0007.
"""

from __future__ import annotations

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Bring a database of revision 0007 up to this one."""
