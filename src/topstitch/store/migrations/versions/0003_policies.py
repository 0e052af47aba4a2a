"""Make what is kept of policies: bundles, and what was put in force where.

Follows 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Bring a database of revision 0002 up to this one."""
    op.create_table(
        "policy_bundles",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("normal", sa.Text(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.Column("published_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_policy_bundles")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_policy_bundles_name_version")),
    )
    op.create_table(
        "policy_moves",
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("moved_at", sa.BigInteger(), nullable=False),
        sa.Column("moved_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("environment", "revision", name=op.f("pk_policy_moves")),
        sqlite_with_rowid=False,
    )
