"""Decides what the database holds: every table, column and index, in one readable file.

A fresh database is made from it; migrations lead an older one here and a test holds both
equal. Times are whole milliseconds since 1970 in UTC (``BIGINT``); what is list- or
map-shaped is JSON text. The tables are of three sorts:

* **truth**: ``journal`` with ``blobs``, ``subject_keys`` and ``personal``; ``events`` and
  ``deliveries``; ``rejected_events``; ``definitions`` and ``channels``; the lease, wake
  time and head in ``instances``;
* **projections**, derived from the records in the same transaction and rebuildable:
  everything under "Projections" below, and the summary columns of ``instances``;
* **meta**, what the database knows of itself.

It holds no SQL that reads or writes.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import UserDefinedType


class TransactionId(UserDefinedType[str]):
    """Which transaction wrote a row: what a sequencer needs on PostgreSQL, and nothing on SQLite."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Name the column type."""
        return "XID8"


class current_transaction(FunctionElement[str]):  # noqa: N801 -- reads as the SQL function it is
    """The writing transaction's id."""

    inherit_cache = True


@compiles(current_transaction)
def _no_transaction_id(*_: Any, **__: Any) -> str:
    return "(NULL)"


@compiles(current_transaction, "postgresql")
def _postgres_transaction_id(*_: Any, **__: Any) -> str:
    return "pg_current_xact_id()"


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_SERIAL = BigInteger().with_variant(Integer, "sqlite")


_BY_KEY: Final[dict[str, Any]] = {"sqlite_with_rowid": False}
"""On SQLite, rows stand in their key's own tree: one page less to write for each."""


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, **options)


def _must(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str, *, must: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=not must)


meta = Table("meta", metadata, _text("key", primary_key=True), _must("value"))

# --- Truth ------------------------------------------------------------------------------------

instances = Table(
    "instances",
    metadata,
    _text("id", primary_key=True),
    _must("workflow"),
    _must("version"),
    _must("digest"),
    _text("correlation"),
    _text("parent"),
    _text("parent_step"),
    _number("started_at", must=True),
    _number("changed_at", must=True),
    _number("ended_at"),
    # the head of its chain, and who may append to it
    _number("head_seq", must=True),
    _must("head_hash"),
    _number("wake_at"),
    _text("lease_owner"),
    _number("lease_until"),
    _number("epoch", must=True),
    # summary, derived from the records
    _text("title"),
    _must("stage"),
    _must("status"),
    _text("waiting_on"),
    **_BY_KEY,
)
Index(
    "ix_instances_due",
    instances.c.wake_at,
    postgresql_where=instances.c.wake_at.isnot(None),
    sqlite_where=instances.c.wake_at.isnot(None),
)
Index("ix_instances_started", instances.c.started_at, instances.c.id)
Index("ix_instances_workflow", instances.c.workflow, instances.c.started_at, instances.c.id)
Index("ix_instances_status", instances.c.status, instances.c.started_at, instances.c.id)
Index("ix_instances_version", instances.c.workflow, instances.c.version, instances.c.status)
Index("ix_instances_changed", instances.c.changed_at, instances.c.id)
Index("ix_instances_correlation", instances.c.correlation)
_AT_REST = instances.c.wake_at.is_(None) & instances.c.ended_at.is_(None)
Index("ix_instances_at_rest", instances.c.id, postgresql_where=_AT_REST, sqlite_where=_AT_REST)
Index(
    "ix_instances_parent",
    instances.c.parent,
    postgresql_where=instances.c.parent.isnot(None),
    sqlite_where=instances.c.parent.isnot(None),
)

journal = Table(
    "journal",
    metadata,
    Column("position", _SERIAL, Identity(always=True), primary_key=True),
    _must("instance"),
    _number("seq", must=True),
    _must("kind"),
    _number("at", must=True),
    _must("stage"),
    _text("step"),
    _text("body"),  # exactly what is hashed; or null, and then it is the blob
    _text("blob"),
    _must("hash"),
    Column("xid", TransactionId, server_default=current_transaction()),
    UniqueConstraint("instance", "seq"),
)

blobs = Table("blobs", metadata, _text("digest", primary_key=True), _must("data"))

subject_keys = Table(
    "subject_keys", metadata, _text("instance", primary_key=True), _must("subject"), _must("wrapped_key"), **_BY_KEY
)
Index("ix_subject_keys_subject", subject_keys.c.subject)

personal = Table(
    "personal",
    metadata,
    _must("instance"),
    _number("seq", must=True),
    _must("ciphertext"),
    PrimaryKeyConstraint("instance", "seq"),
    **_BY_KEY,
)

events = Table(
    "events",
    metadata,
    Column("position", _SERIAL, Identity(always=True), primary_key=True),
    _must("source"),
    _must("id"),
    _must("receipt"),
    _must("type"),
    _text("data"),
    _text("raw"),
    _text("headers"),
    _must("digest"),
    _number("time"),
    _number("received_at", must=True),
    _must("signature"),
    _text("trace"),
    _must("outcome"),
    UniqueConstraint("source", "id"),
)
Index("ix_events_type", events.c.type, events.c.received_at)

deliveries = Table(
    "deliveries",
    metadata,
    _text("receipt", primary_key=True),
    _must("source"),
    _must("event"),
    _number("received_at", must=True),
    _must("digest"),
)
Index("ix_deliveries_event", deliveries.c.source, deliveries.c.event)

rejected_events = Table(
    "rejected_events",
    metadata,
    _text("id", primary_key=True),
    _number("received_at", must=True),
    _must("door"),
    _must("raw"),
    _must("headers"),
    _must("digest"),
    _must("problem"),
)
Index("ix_rejected_events_received", rejected_events.c.received_at)

definitions = Table(
    "definitions",
    metadata,
    _text("digest", primary_key=True),
    _must("workflow"),
    _must("version"),
    _must("text"),
    _must("normal"),
    _number("published_at", must=True),
    _must("published_by"),
    UniqueConstraint("workflow", "version"),
)

channels = Table(
    "channels",
    metadata,
    _text("workflow", primary_key=True),
    _must("digest"),
    _number("moved_at", must=True),
    _must("moved_by"),
)

# --- Projections ------------------------------------------------------------------------------

steps = Table(
    "steps",
    metadata,
    _must("instance"),
    _must("step"),
    _text("system"),
    _must("status"),
    _number("attempts"),
    _number("started_at"),
    _number("done_at"),
    _number("duration_ms"),
    _text("failure"),
    _number("failed_at"),
    _text("from_system"),
    _text("to_system"),
    PrimaryKeyConstraint("instance", "step"),
    **_BY_KEY,
)

handoffs = Table(
    "handoffs",
    metadata,
    _must("instance"),
    _must("from_step"),
    _must("to_step"),
    _text("from_system"),
    _text("to_system"),
    _number("ready_at"),
    _number("started_at"),
    _number("net_ms"),
    _number("gross_ms"),
    PrimaryKeyConstraint("instance", "from_step", "to_step"),
    **_BY_KEY,
)
Index("ix_handoffs_seam", handoffs.c.from_system, handoffs.c.to_system, handoffs.c.started_at)

effects = Table(
    "effects",
    metadata,
    _must("instance"),
    _must("act"),
    _text("step"),
    _text("system"),
    _text("action"),
    _text("key"),
    _number("attempts"),
    _number("sent_at"),
    _number("applied_at"),
    _number("found"),
    _text("record"),
    _text("url"),
    _number("undone_at"),
    PrimaryKeyConstraint("instance", "act"),
    **_BY_KEY,
)

context_reads = Table(
    "context_reads",
    metadata,
    _must("instance"),
    _must("name"),
    _text("system"),
    _text("action"),
    _must("status"),
    _number("at"),
    _text("record"),
    _text("url"),
    _text("digest"),
    _number("attempts"),
    _number("duration_ms"),
    PrimaryKeyConstraint("instance", "name"),
    **_BY_KEY,
)

approvals = Table(
    "approvals",
    metadata,
    _text("id", primary_key=True),
    _must("instance"),
    _text("step"),
    _text("title"),
    _text("asked"),
    _text("people"),
    _text("excluded"),
    _number("quorum"),
    _text("because"),
    _text("payload_digest"),
    _text("escalations"),
    _number("asked_at"),
    _number("next_reminder_at"),
    _number("reminders"),
    _number("give_up_at"),
    _must("status"),
    _number("closed_at"),
    _text("closed_by"),
    _number("waited_ms"),
    _text("if_approved"),
    _text("if_refused"),
    _text("if_unanswered"),
)
Index("ix_approvals_status", approvals.c.status, approvals.c.asked_at)
Index("ix_approvals_instance", approvals.c.instance)

answers = Table(
    "answers",
    metadata,
    _must("approval"),
    _must("actor"),
    _must("instance"),
    _text("answer"),
    _text("comment"),
    _text("answered_for"),
    _text("payload_digest"),
    _text("via"),
    _number("at"),
    PrimaryKeyConstraint("approval", "actor"),
    **_BY_KEY,
)
Index("ix_answers_instance", answers.c.instance)

asked_people = Table(
    "asked_people",
    metadata,
    _must("item"),  # an approval's or a task's id
    _must("person"),
    _must("instance"),
    _text("name"),
    _text("email"),
    _text("asked_as"),
    _number("since"),
    PrimaryKeyConstraint("item", "person"),
    **_BY_KEY,
)
Index("ix_asked_people_person", asked_people.c.person)
Index("ix_asked_people_instance", asked_people.c.instance)

tasks = Table(
    "tasks",
    metadata,
    _text("id", primary_key=True),
    _must("instance"),
    _text("step"),
    _text("act"),
    _text("purpose"),
    _text("title"),
    _text("assignee"),
    _text("form"),
    _text("check_first"),
    _text("system"),
    _number("opened_at"),
    _number("due_at"),
    _number("give_up_at"),
    _text("escalations"),
    _must("status"),
    _number("done_at"),
    _text("done_by"),
    _text("output"),
    _text("comment"),
    _number("closed_at"),
    _text("ending"),
)
Index("ix_tasks_status", tasks.c.status, tasks.c.due_at)
Index("ix_tasks_instance", tasks.c.instance)

cases = Table(
    "cases",
    metadata,
    _text("id", primary_key=True),
    _must("instance"),
    _text("step"),
    _text("cause"),
    _text("from_system"),
    _text("to_system"),
    _text("owner"),
    _text("summary"),
    _text("remedy"),
    _text("problem"),
    _number("attempt"),
    _number("opened_at"),
    _must("status"),
    _text("how"),
    _text("because"),
    _number("closed_at"),
    _text("closed_by"),
)
Index("ix_cases_status", cases.c.status, cases.c.opened_at)
Index("ix_cases_instance", cases.c.instance)

discrepancies = Table(
    "discrepancies",
    metadata,
    _text("id", primary_key=True),
    _must("instance"),
    _text("record"),
    _text("system"),
    _text("check_name"),
    _text("last_check"),
    _text("severity"),
    _text("fields"),
    _text("url"),
    _number("opened_at"),
    _number("changed_at"),
    _text("ticket"),
    _text("ticket_url"),
    _must("status"),
    _number("resolved_at"),
    _text("because"),
    _text("state"),
    _text("owner"),
    _text("heal"),
    _text("changed_by"),
    _number("suspected_at"),
    _number("reopened"),
    _number("waived_until"),
)
Index("ix_discrepancies_status", discrepancies.c.status, discrepancies.c.opened_at)
Index("ix_discrepancies_state", discrepancies.c.state, discrepancies.c.opened_at)
Index("ix_discrepancies_instance", discrepancies.c.instance)

checks = Table(
    "checks",
    metadata,
    _must("instance"),
    _must("check_name"),
    _number("due_at"),
    _number("began_at"),
    _number("late"),
    _number("done_at"),
    _number("matched"),
    _number("differing"),
    _number("unverified"),
    _number("pending"),
    PrimaryKeyConstraint("instance", "check_name"),
    **_BY_KEY,
)

notices = Table(
    "notices",
    metadata,
    _must("instance"),
    _number("seq", must=True),
    _text("step"),
    _text("about"),
    _text("who"),
    _text("people"),
    _text("notice"),
    _number("ok"),
    _number("at"),
    PrimaryKeyConstraint("instance", "seq"),
    **_BY_KEY,
)

waits = Table(
    "waits",
    metadata,
    _must("instance"),
    _must("step"),
    _must("event"),
    _number("since"),
    _number("give_up_at"),
    _must("status"),
    PrimaryKeyConstraint("instance", "step"),
    **_BY_KEY,
)
Index("ix_waits_open", waits.c.event, postgresql_where=text("status = 'open'"), sqlite_where=text("status = 'open'"))

instance_words = Table(
    "instance_words",
    metadata,
    _must("instance"),
    Column("word", Text().with_variant(Text(collation="C"), "postgresql"), nullable=False),  # a span of it is read
    PrimaryKeyConstraint("instance", "word"),
    **_BY_KEY,
)
Index("ix_instance_words_word", instance_words.c.word, instance_words.c.instance)

PROJECTIONS: Final = (
    steps, handoffs, effects, context_reads, approvals, answers, asked_people, tasks, cases, discrepancies, checks,
    notices, waits, instance_words,
)  # fmt: skip
"""What ``rebuild`` empties and derives again; the summary of ``instances`` is the other projection."""

# --- Ledger: the order of all records, the tree over them, its signed roots -----------------------

leaves = Table(
    "leaves",
    metadata,
    Column("leaf", _SERIAL, primary_key=True, autoincrement=False),  # the record's place in the tree, from 0
    _must("instance"),
    _number("seq", must=True),
    UniqueConstraint("instance", "seq"),
)
# On SQLite ``xid`` is always null, so there the index stays empty and costs nothing.
Index("ix_journal_xid", journal.c.xid, journal.c.position, sqlite_where=journal.c.xid.isnot(None))

tiles = Table(
    "tiles",
    metadata,
    _number("level", must=True),
    _number("number", must=True),
    _must("data"),  # base64 of up to 256 hashes; the last tile of a level grows
    PrimaryKeyConstraint("level", "number"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("number", _SERIAL, primary_key=True, autoincrement=False),  # from 1, without gaps
    _number("size", must=True),
    _must("root"),
    _must("note"),
    _number("made_at", must=True),
)

anchorings = Table(
    "anchorings",
    metadata,
    _number("checkpoint", must=True),
    _must("anchor"),
    _number("at", must=True),
    _text("receipt"),
    _text("problem"),
    PrimaryKeyConstraint("checkpoint", "anchor"),
)

legal_holds = Table(
    "legal_holds",
    metadata,
    _text("id", primary_key=True),
    _must("subject"),
    _must("ground"),
    _text("salt"),  # opens the commitment in the installation's journal
    _number("placed_at", must=True),
    _must("placed_by"),
    _number("lifted_at"),
    _text("lifted_by"),
)
Index("ix_legal_holds_subject", legal_holds.c.subject)

stored_credentials = Table(
    "stored_credentials",
    metadata,
    _text("name", primary_key=True),
    _must("wrapped_key"),
    _must("ciphertext"),
    _number("stored_at", must=True),
    _must("stored_by"),
)

# --- Measures: what the metrics keep beside the projections -------------------------------------

# Which rows of the projections the metrics look for. Each index holds only rows that have what it is about.
Index(
    "ix_steps_measured",
    steps.c.step,
    steps.c.done_at,
    steps.c.duration_ms,
    postgresql_where=steps.c.duration_ms.isnot(None),
    sqlite_where=steps.c.duration_ms.isnot(None),
)
Index(
    "ix_steps_failed",
    steps.c.failed_at,
    postgresql_where=steps.c.failed_at.isnot(None),
    sqlite_where=steps.c.failed_at.isnot(None),
)
Index("ix_discrepancies_opened", discrepancies.c.opened_at)
_UNDO_FAILED = journal.c.kind == text("'step.undo_failed'")
Index("ix_journal_undo_failed", journal.c.at, postgresql_where=_UNDO_FAILED, sqlite_where=_UNDO_FAILED)

rollups = Table(
    "rollups",
    metadata,
    _must("workflow"),
    _must("version"),
    _must("measure"),  # step, net, gross or seam
    _must("name"),  # identity, identity>equipment, or entra-id>servicenow
    _number("begins_at", must=True),
    _number("spans_ms", must=True),  # an hour; a day once it is old
    _number("executions", must=True),
    _number("exceptions", must=True),
    _number("total_ms", must=True),
    _number("least_ms"),
    _number("most_ms"),
    _text("sketch"),
    PrimaryKeyConstraint("workflow", "version", "measure", "name", "begins_at"),
    **_BY_KEY,
)
Index("ix_rollups_begins", rollups.c.begins_at)

baselines = Table(
    "baselines",
    metadata,
    _must("workflow"),
    _must("step"),
    _must("family"),
    _number("number", must=True),  # 1 is the frozen first one
    _number("median_ms", must=True),
    _number("p95_ms", must=True),
    _number("samples", must=True),
    _number("pinned_at", must=True),
    _must("pinned_by"),
    _text("because"),
    PrimaryKeyConstraint("workflow", "step", "family", "number"),
    **_BY_KEY,
)

seasons = Table(
    "seasons",
    metadata,
    _must("workflow"),
    _must("step"),
    _must("family"),
    _number("number", must=True),  # of the baseline that it belongs to
    _number("since", must=True),  # learnt from here ...
    _number("until", must=True),  # ... to here
    _must("hours"),  # hour of the week -> median, p95, samples, and when it was pinned
    PrimaryKeyConstraint("workflow", "step", "family", "number"),
    **_BY_KEY,
)

manual_baselines = Table(
    "manual_baselines",
    metadata,
    _text("workflow", primary_key=True),
    _must("body"),
    _number("recorded_at", must=True),
    _must("recorded_by"),
    **_BY_KEY,
)

alerts = Table(
    "alerts",
    metadata,
    _text("id", primary_key=True),
    _must("cause"),
    _must("kind"),
    _must("level"),
    _must("status"),  # suspected, open or cleared
    _must("workflow"),
    _text("version"),
    _text("step"),
    _text("from_system"),
    _text("to_system"),
    _number("since", must=True),
    _number("opened_at"),
    _number("changed_at", must=True),
    _number("cleared_at"),
    _number("seen", must=True),  # evaluations in a row
    _must("body"),
    _number("acknowledged_at"),
    _text("acknowledged_by"),
    _text("note"),
)
_NOT_CLEARED = alerts.c.status != text("'cleared'")
Index("ix_alerts_cause", alerts.c.cause, unique=True, postgresql_where=_NOT_CLEARED, sqlite_where=_NOT_CLEARED)
Index("ix_alerts_status", alerts.c.status, alerts.c.changed_at)

alert_mutes = Table(
    "alert_mutes",
    metadata,
    _text("cause", primary_key=True),
    _number("ends_at", must=True),
    _must("because"),
    _must("muted_by"),
    _number("muted_at", must=True),
    **_BY_KEY,
)

alert_messages = Table(
    "alert_messages",
    metadata,
    _text("id", primary_key=True),
    _must("alert"),
    _must("event"),  # opened, raised or cleared
    _must("route"),
    _must("body"),
    _number("made_at", must=True),
    _number("tries", must=True),
    _number("next_at"),  # null once sent or given up
    _number("sent_at"),
    _text("problem"),
    **_BY_KEY,
)
Index(
    "ix_alert_messages_due",
    alert_messages.c.next_at,
    postgresql_where=alert_messages.c.next_at.isnot(None),
    sqlite_where=alert_messages.c.next_at.isnot(None),
)
Index("ix_alert_messages_alert", alert_messages.c.alert)

# --- Pauses: connections and seams over which nothing is sent, each open one a case ---------------

pauses = Table(
    "pauses",
    metadata,
    _text("id", primary_key=True),
    _must("subject"),  # connection:itsm, or seam:entra-id>servicenow
    _must("cause"),  # operator or credential
    _must("reason"),
    _text("problem"),
    _text("instance"),  # the first that met it
    _number("opened_at", must=True),
    _must("opened_by"),
    _text("owner"),
    _number("closed_at"),
    _text("closed_by"),
    _text("because"),
)
_PAUSED = pauses.c.closed_at.is_(None)
Index("ix_pauses_open", pauses.c.subject, unique=True, postgresql_where=_PAUSED, sqlite_where=_PAUSED)
