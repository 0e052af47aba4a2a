"""Make room for the words that instances are found by, and write those of the instances there are.

Follows 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from topstitch.store.projections import ERASED_TEXT
from topstitch.store.words import words_of

revision = "0011"
down_revision = "0010"
AT_ONCE = 5000


def upgrade() -> None:
    """Bring a database of revision 0010 up to this one."""
    word = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    made = op.create_table(
        "instance_words",
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("word", word, nullable=False),
        sa.PrimaryKeyConstraint("instance", "word", name=op.f("pk_instance_words")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_instance_words_word", "instance_words", ["word", "instance"], unique=False)
    _fill(made)


def _fill(made: sa.Table) -> None:
    connection = op.get_bind()
    known = sa.table("instances", sa.column("id"), sa.column("title"), sa.column("correlation"))
    rows = connection.execute(sa.select(known.c.id, known.c.title, known.c.correlation).order_by(known.c.id)).all()
    for begin in range(0, len(rows), AT_ONCE):
        words = [
            {"instance": name, "word": word}
            for name, title, correlation in rows[begin : begin + AT_ONCE]
            for word in words_of(None if title == ERASED_TEXT else title, correlation)
        ]
        if words:
            connection.execute(sa.insert(made), words)
