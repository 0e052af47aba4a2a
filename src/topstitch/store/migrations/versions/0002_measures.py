"""Make what the metrics keep: roll-ups, baselines, alerts, and the indexes by which rows are measured.

Follows 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Bring a database of revision 0001 up to this one."""
    _make_indexes()
    _make_figures()
    _make_alerts()


def _make_indexes() -> None:
    for name, table, columns, where in (
        ("ix_steps_measured", "steps", ["step", "done_at", "duration_ms"], "duration_ms IS NOT NULL"),
        ("ix_steps_failed", "steps", ["failed_at"], "failed_at IS NOT NULL"),
        ("ix_discrepancies_opened", "discrepancies", ["opened_at"], None),
        ("ix_journal_undo_failed", "journal", ["at"], "kind = 'step.undo_failed'"),
    ):
        only = sa.text(where) if where else None
        op.create_index(name, table, columns, unique=False, postgresql_where=only, sqlite_where=only)


def _make_figures() -> None:
    op.create_table(
        "rollups",
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.Column("spans_ms", sa.BigInteger(), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("exceptions", sa.BigInteger(), nullable=False),
        sa.Column("total_ms", sa.BigInteger(), nullable=False),
        sa.Column("least_ms", sa.BigInteger(), nullable=True),
        sa.Column("most_ms", sa.BigInteger(), nullable=True),
        sa.Column("sketch", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("workflow", "version", "measure", "name", "begins_at", name=op.f("pk_rollups")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "baselines",
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("median_ms", sa.BigInteger(), nullable=False),
        sa.Column("p95_ms", sa.BigInteger(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("pinned_at", sa.BigInteger(), nullable=False),
        sa.Column("pinned_by", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("workflow", "step", "family", "number", name=op.f("pk_baselines")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "manual_baselines",
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workflow", name=op.f("pk_manual_baselines")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_rollups_begins", "rollups", ["begins_at"], unique=False)


def _make_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("from_system", sa.Text(), nullable=True),
        sa.Column("to_system", sa.Text(), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=True),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("cleared_at", sa.BigInteger(), nullable=True),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("acknowledged_at", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_table(
        "alert_mutes",
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("muted_by", sa.Text(), nullable=False),
        sa.Column("muted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("cause", name=op.f("pk_alert_mutes")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "alert_messages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("alert", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_messages")),
        sqlite_with_rowid=False,
    )
    not_cleared, due = sa.text("status != 'cleared'"), sa.text("next_at IS NOT NULL")
    op.create_index(
        "ix_alerts_cause", "alerts", ["cause"], unique=True, postgresql_where=not_cleared, sqlite_where=not_cleared
    )
    op.create_index("ix_alerts_status", "alerts", ["status", "changed_at"], unique=False)
    op.create_index("ix_alert_messages_due", "alert_messages", ["next_at"], postgresql_where=due, sqlite_where=due)
    op.create_index("ix_alert_messages_alert", "alert_messages", ["alert"], unique=False)
