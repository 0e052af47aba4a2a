"""Make room for deciding.

Follows 0005.
"""

from __future__ import annotations

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Bring a database of revision 0005 up to this one."""
