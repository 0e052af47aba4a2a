"""Make room for seams and for the lists of the console: indexes of instances, and saved views.

Follows 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Bring a database of revision 0008 up to this one."""
    _lists()


def _lists() -> None:
    op.create_index("ix_instances_version", "instances", ["workflow", "version", "status"], unique=False)
    op.create_index("ix_instances_changed", "instances", ["changed_at", "id"], unique=False)
    op.create_table(
        "saved_views",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("list", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("shared", sa.BigInteger(), nullable=False),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_views")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_saved_views_list", "saved_views", ["list", "person"], unique=False)
