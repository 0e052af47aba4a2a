"""Make room for calendars that wait for a second person.

Follows 0012.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Bring a database of revision 0012 up to this one."""
    op.create_table(
        "calendar_proposals",
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text()),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("proposed_at", sa.BigInteger(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("environment", "digest", name=op.f("pk_calendar_proposals")),
        sqlite_with_rowid=False,
    )
