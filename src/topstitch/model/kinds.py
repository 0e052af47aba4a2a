"""The kinds of record, and what the body of each holds.

Bodies say what was decided, not only what happened: a record that moves an act names the
act's next status, so that folding a journal needs no rules, and a reader needs none either.
``?`` marks a key that may be absent. Times are RFC 3339 text; ``*_ms`` are milliseconds. Any
body may hold ``tell``: [{key, about, who, people, notice: {kind, title, text, link?}}], notices to be sent because of
it.

An *act* is one write being carried out with tries, look-ups and read-backs: a step's own
(``identity``), one item's of it (``accounts[3]``), its undo (``identity/undo``), a
compensating action (``equipment/compensate/1``), or a reconciliation's
(``@reconcile/directory/ticket``; no step is called so).
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Every kind of record there is."""

    STARTED = "started"
    """{event: {id, source, type, time?, received_at, signature, trace?}, data, workflow, version, digest, title,
    correlation, requester?, rates, environment, policy?, parent?, parent_step?}. The first record of every instance."""
    STAGE_ENTERED = "stage.entered"
    """{stage}"""

    CONTEXT_READ = "context.read"
    """{name, system, action, params, value, record?, url?, digest, duration_ms, attempt}"""
    CONTEXT_SKIPPED = "context.skipped"
    """{name, because}: its condition was false, or it is optional and could not be read."""
    CONTEXT_FAILED = "context.failed"
    """{name, system, action, attempt, problem, again_at?}: without ``again_at`` this was the last try."""

    STEP_SKIPPED = "step.skipped"
    """{because}"""
    STEP_NOT_RUN = "step.not_run"
    """{because, steps}"""
    STEP_DECLINED = "step.declined"
    """{ending: precondition | denied | refused | unanswered, because, then, approval?}"""
    DECISION = "decision"
    """{outcome: auto | approve | deny, because: [{rule, bundle?, digest?, read, demands?, condition?, gates?, error?}],
    system, action, payload, payload_digest, key, risk, env, engine, gates?: [{from, quorum, evidence?}],
    denied?: [{rule, text}], facts?: {path: value}, absent?: [path], policy?: {hard, soft: {bundle, digest}},
    decided_by?, rates?, items?}. What releases a step's write, or who must: actor is the policy that decided.
    Worked out again from ``facts`` and the bundles named, it gives the same answer."""
    APPROVERS_SOUGHT = "approvers.sought"
    """{attempt, who, found, problem?, again_at?}: nobody was found, or the directory did not answer."""
    APPROVAL_ASKED = "approval.asked"
    """{approval, title, from, people: [{id, name?, email?, for, also?}], excluded, barred?, quorum, gates,
    payload_digest, because, remind_every_s?, next_reminder_at?, endings?: {refused, unanswered},
    escalations: [{at, to}], give_up_at, if_approved, if_refused, if_unanswered}"""
    APPROVAL_REMINDED = "approval.reminded"
    """{approval, times, next_reminder_at?}"""
    APPROVAL_ESCALATED = "approval.escalated"
    """{approval, index, to, people}"""
    APPROVAL_ANSWERED = "approval.answered"
    """{approval, answer: approve | refuse, comment?, for?, payload_digest, via}: one person's answer."""
    APPROVAL_CLOSED = "approval.closed"
    """{approval, ending: approved | refused | unanswered | void | withdrawn, by: [actor], waited_ms}"""

    ACT_PROPOSED = "act.proposed"
    """{act, purpose: undo | find | by_hand | compensate | ticket | close_ticket | heal, system, action, payload,
    payload_digest, key, grant, next, output?, failure?, compensation?}"""
    ACT_INTENT = "act.intent"
    """{act, attempt, key, system, action, payload_digest, grant: {decision, by}, handoffs?: [{from, from_system,
    to_system, ready_at, net_ms, gross_ms}]}. Committed before the write is sent."""
    ACT_RESULT = "act.result"
    """{act, attempt, result, next, next_at?, held?, output?, found?, record?, url?, problem?, request?, duration_ms,
    failure?}"""
    ACT_IN_DOUBT = "act.in_doubt"
    """{act, attempt, because, next, next_at?}: the engine stopped between intent and result."""
    ACT_LOOKED_UP = "act.looked_up"
    """{act, why: guard | doubt | verdict, answer: found | absent | no_answer, next, next_at?, output?, found?, record?,
    problem?, failure?, duration_ms}"""
    ACT_READ_BACK = "act.read_back"
    """{act, index, poll, agrees, next, next_at?, observed?, problem?, failure?, duration_ms}"""
    ACT_QUIESCED = "act.quiesced"
    """{act, next, next_at?, failure?, because}: no further attempt is made because the instance stops or rolls back."""

    STEP_DONE = "step.done"
    """{output, found, record?, system, started_at, duration_ms}: confirmed."""
    STEP_FAILED = "step.failed"
    """{failure: refused | unreachable | unknown | disagrees | some_failed | expression, effect: none | applied |
    unknown, problem?, seam: {from_system, to_system}}: compensation begins."""
    STEP_DONE_BY_HAND = "step.done_by_hand"
    """{output, by, task}"""
    STEP_GIVEN_UP = "step.given_up"
    """{failure, effect}"""

    FLAG_SET = "flag.set"
    """{flag, because}"""
    TASK_OPENED = "task.opened"
    """{task, act?, index, purpose: step | undo | ticket, title, to, people, form, check_first, due_at, escalations:
    [{at, to}], give_up_at, system}"""
    TASK_ESCALATED = "task.escalated"
    """{task, index, to, people}"""
    TASK_DONE = "task.done"
    """{task, output, comment?}: a person says it is done; actor is that person."""
    TASK_FAILED = "task.failed"
    """{task, comment}: a person says it cannot be done."""
    TASK_REOPENED = "task.reopened"
    """{task, because}: what was done does not agree with what is read back."""
    TASK_CLOSED = "task.closed"
    """{task, ending: accepted | failed | expired | withdrawn}"""

    MODE_CHANGED = "mode.changed"
    """{mode: stopping | rolling_back | forward, because, cancelled?}"""
    STEP_UNDONE = "step.undone"
    """{output?}"""
    STEP_UNDONE_BY_HAND = "step.undone_by_hand"
    """{by, task}"""
    STEP_UNDO_FAILED = "step.undo_failed"
    """{failure, problem?}: a task to the owner follows; the other undos go on."""
    STEP_UNDO_OPEN = "step.undo_open"
    """{failure}"""
    STEP_KEPT = "step.kept"
    """{because}"""

    WAIT_BEGAN = "wait.began"
    """{event, give_up_at}"""
    SIGNAL_OFFERED = "signal.offered"
    """{event: {id, source, type, received_at}, data}: an event of a kind this instance waits for."""
    WAIT_LOOKED = "wait.looked"
    """{seen}: the inbox of events was searched once when the wait began."""
    WAIT_EXPIRED = "wait.expired"
    """{otherwise}"""
    CHILD_STARTED = "child.started"
    """{instance, workflow}"""
    CHILD_ENDED = "child.ended"
    """{instance, end, output?}"""
    REPORTED = "reported"
    """{parent, step}: the end of this instance was told to the one that called it."""

    TOLD = "told"
    """{about, who, people, notice, ok, problem?}"""
    CASE_OPENED = "case.opened"
    """{case, cause, step?, seam: {from_system, to_system}, owner, summary, remedy, problem?, attempt?, request?}"""
    CASE_CLOSED = "case.closed"
    """{case, how, because?}"""

    HOLD_ENDED = "hold.ended"
    """{acts, reads}: calls that a pause had held back are asked for again at once."""

    EXECUTED = "executed"
    """{outcome, at}: every step has settled; T+ checks may still be due."""
    CHECK_BEGAN = "check.began"
    """{check, due_at, late, records?: [record]}: with ``records`` only these are read."""
    SOURCE_READ = "source.read"
    """{check, name, system, value?, problem?}: what the system whose word counts says now (``authority``)."""
    CHECK_READ = "check.read"
    """{check, record, system, read: n, verdict: match | suspected | differs | unverified | pending |
    nothing_expected, fields: [{field, intended, committed, observed, verdict, cause, severity, heal?}], again_at?,
    step_status, waiting_on?, url?, problem?, suspects?, clears?}"""
    DISCREPANCY_OPENED = "discrepancy.opened"
    """{discrepancy, record, system, check, severity, fields: [...], owner, url?}"""
    DISCREPANCY_UPDATED = "discrepancy.updated"
    """{discrepancy, check, severity, fields}"""
    DISCREPANCY_TICKETED = "discrepancy.ticketed"
    """{discrepancy, revision, ticket, state, url?}"""
    DISCREPANCY_REOPENED = "discrepancy.reopened"
    """{discrepancy, record, system, check, severity, fields, owner, times, url?}: it was resolved or waived."""
    DISCREPANCY_WAIVED = "discrepancy.waived"
    """{discrepancy, until, because}: actor lets it stand until then."""
    DISCREPANCY_SUPERSEDED = "discrepancy.superseded"
    """{discrepancy, record, system, check, fields, owner, url?}: the source moved on after us; no alarm."""
    DISCREPANCY_RESOLVED = "discrepancy.resolved"
    """{discrepancy, how: agreed | accepted | superseded, check?, because?}"""
    HEAL_PROPOSED = "heal.proposed"
    """{heal, discrepancy, record, field, system, action, payload, payload_digest, mode: propose | auto, same?, of?}.
    From here on the heal is carried out as a step of this name is: decision, approval, intent, result."""
    HEAL_REFUSED = "heal.refused"
    """{discrepancy, record, field, action, because, same?, of?}"""
    CHECK_DONE = "check.done"
    """{check, matched, differing, unverified, pending}"""

    ENDED = "ended"
    """{end, residue: [{step, system, record, why}], undone, compensated, open_cases, open_discrepancies}. The last
    record, but for what auditors and erasure append."""

    OPERATOR_COMMANDED = "operator.commanded"
    """{command: retry | skip | pause | resume | cancel | edit | reassign, reason, step?, ...}, with its actor.
    retry: {steps: [those that wait again], input?, before?}; cancel: {choice: rollback | stop}; edit: {path, before,
    after}; reassign: {approval? | task?, people}; in bulk: {batch}. See ``execution.operate``."""
    ATTEMPT_REFUSED = "attempt.refused"
    """{what, because}: somebody tried what is impossible (a write in the context stage, a write without a grant)."""
    ERASED = "erased"
    """{subject, ground, count}"""
    KEY_ROTATED = "key.rotated"
    """{note, old, new}, in the installation's own journal: checkpoints are signed by the new key from here on."""
    KEY_LOST = "key.lost"
    """{new, known}, in the installation's own journal: a new key began because the old one was lost."""
    HOLD_PLACED = "hold.placed"
    """{hold, subject: commitment, ground}, in the installation's own journal: this person may not be erased."""
    HOLD_LIFTED = "hold.lifted"
    """{hold, because}, in the installation's own journal."""
    DELEGATION_GRANTED = "delegation.granted"
    """{delegation, grantor, delegate, group?, starts_at, ends_at, because}, in the installation's own journal."""
    DELEGATION_ENDED = "delegation.ended"
    """{delegation, grantor, delegate}, in the installation's own journal: earlier than it would have ended."""
    AGENT_CHANGED = "agent.changed"
    """{agent, owner, max_tier, actions, money_per_day, asks_per_day, off}, in the installation's own journal."""
    CALENDAR_LOADED = "calendar.loaded"
    """{environment, digest, four_eyes}, in the installation's own journal: working hours, absences and freezes from
    here on."""
    SECRET_CHANGED = "secret.changed"  # noqa: S105 -- the name of a kind
    """{name, how: set | removed}, in the installation's own journal; never a value."""
    ACCESS_CHANGED = "access.changed"
    """{command: add | disable | enable | password | grant | revoke | token | token_revoke | link, about, role?, where?,
    scopes?, ends_at?}, in the installation's own journal: who may do what was changed."""
    PUBLISH_PROPOSED = "publish.proposed"
    """{workflow | policy | calendar, version?, digest, environment?, parent?, because: [...]}, in the installation's
    own journal: a change of high risk waits for a second person. A policy bundle has its environment, a calendar is
    named by it."""
    PUBLISH_SETTLED = "publish.settled"
    """{workflow | policy | calendar, version?, digest, environment?, ending: published | withdrawn, proposed_by,
    four_eyes}, in the installation's own journal."""
    PLAN_MOVED = "plan.moved"
    """{from, to, plan_digest}"""
