"""Make room for reconciliation: the whole life of a discrepancy, and the comparison of whole populations.

Follows 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Bring a database of revision 0006 up to this one."""
    for name in ("state", "owner", "heal", "changed_by"):
        op.add_column("discrepancies", sa.Column(name, sa.Text(), nullable=True))
    for name in ("suspected_at", "reopened", "waived_until"):
        op.add_column("discrepancies", sa.Column(name, sa.BigInteger(), nullable=True))
    op.create_index("ix_discrepancies_state", "discrepancies", ["state", "opened_at"], unique=False)
    op.create_table(
        "populations",
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("ran_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("workflow", name=op.f("pk_populations")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_populations_due", "populations", ["due_at"], unique=False)
    op.create_table(
        "population_differences",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=True),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("waived_until", sa.BigInteger(), nullable=True),
        sa.Column("because", sa.Text(), nullable=True),
        sa.Column("changed_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_population_differences")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_population_differences_workflow", "population_differences", ["workflow", "state"], unique=False)
