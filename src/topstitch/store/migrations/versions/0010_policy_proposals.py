"""Make room for policy bundles that wait for a second person.

Follows 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Bring a database of revision 0009 up to this one."""
    op.create_table(
        "policy_proposals",
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("normal", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text()),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("proposed_at", sa.BigInteger(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("settled_at", sa.BigInteger()),
        sa.Column("settled_by", sa.Text()),
        sa.Column("ending", sa.Text()),
        sa.PrimaryKeyConstraint("environment", "digest", name=op.f("pk_policy_proposals")),
        sqlite_with_rowid=False,
    )
