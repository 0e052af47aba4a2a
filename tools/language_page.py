"""Writes the page of the workflow language: every key of the schema, with what it means.

Type, need and default come from ``topstitch.language.schema``; the words stand here, one for each key. A key without
words, and words without a key, raise: so the page cannot fall behind. ``tools/reference_pages.py`` calls ``page``.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from topstitch.language import schema

HEAD: Final = """# The workflow language

One YAML file holds one process. `topstitch validate FILE` checks it, `topstitch schema` prints this page as JSON
Schema for editors, and the files that `topstitch init` writes name that schema in their first line. The page is
written by `tools/reference_pages.py` from the schema itself.

## How values are written

| form | meaning |
| --- | --- |
| `= expression` | the value of a CEL expression; it keeps its type |
| `"text ${expression}"` | a text with expressions in it |
| anything else | itself |
| a *condition* | a bare CEL expression that is true or false: `trigger.department == "Sales"` |
| a *duration* | a whole number and `s`, `m`, `h` or `d`: `45m` |
| an *action* | `alias.action`; the alias stands under `systems` |
| *who* | `manager_of(subject)`, `group:name`, `role:name`, `owner`, `requester`, or a person's id |
| a *disposition* | `continue`: go on without it; `rollback`: undo what was done; `stop`: begin nothing more |

Expressions read `trigger`, `context`, `steps.NAME.input` and `.output`, `flags`, `process` and `env`; in a step also
`step.input` and `step.output`; in a read-back `found`; in `for_each` `item`; under `on_difference` `difference`. A
field that may be absent is read with `.?`. Amounts of money compare by the recorded rates: `total.under("2500 USD")`.

YAML is read strictly: no anchors, no merge keys, no tags, no second document, no key twice, and text that YAML would
take for something else is pointed out instead of guessed.
"""
SECTIONS: Final[Mapping[str, str]] = {
    "Workflow": "The file",
    "Owner": "owner",
    "Trigger": "trigger",
    "Read": "context.NAME",
    "Step": "steps.NAME",
    "Check": "require",
    "Approval": "approval",
    "Gate": "approval.otherwise",
    "Escalation": "escalate",
    "Ending": "approval.refused, approval.unanswered",
    "Retry": "retry",
    "Expect": "expect",
    "NoExpect": "expect, waived",
    "Undo": "rollback",
    "NoUndo": "rollback, none",
    "Compensate": "compensate",
    "TaskItem": "compensate.do, a task",
    "Task": "task",
    "FlagItem": "compensate.do, a flag",
    "ActionItem": "compensate.do, an action",
    "Then": "compensate.then",
    "WaitFor": "wait_for",
    "CallWorkflow": "call",
    "ForEach": "for_each",
    "Reconcile": "reconcile",
    "ReconcileRecord": "reconcile.records.NAME",
    "FieldRule": "reconcile.records.NAME.expect",
    "OnDifference": "reconcile.on_difference",
    "Population": "reconcile.population",
    "PopulationSide": "population.left, population.right",
    "Sla": "sla.NAME",
    "Monitor": "monitor",
    "StepDurationLimit": "monitor.step_duration",
    "HandoffLimit": "monitor.handoff",
    "ExceptionLimit": "monitor.exceptions",
}
"""Each model, and how its section is called."""
WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "Workflow": {
        "workflow": "The name, which stays the same in all versions.",
        "version": "Three numbers. A published version never changes; publish a change under a greater one.",
        "title": "What people call it.",
        "purpose": "What it is for, in a sentence.",
        "owner": "The team that answers for it end to end.",
        "systems": "Which kind of system each alias is: `itsm: servicenow@1`. `connections.toml` says which one.",
        "trigger": "What starts an instance.",
        "context": "What is read before anything is written. A write here does not compile.",
        "steps": "What is done, each with a name. It stands below what it waits for: the file is read from the top.",
        "reconcile": "When and how the systems are compared with what should be.",
        "sla": "What is promised; at least one promise.",
        "monitor": "From when on durations, handoffs and exceptions are reported.",
    },
    "Owner": {"team": "A name that people know.", "page": "Who is woken, as your paging system calls them."},
    "Trigger": {
        "on": "The event: `alias.event`.",
        "one_per": "What keeps instances apart, such as `= trigger.employee_id`. The same value starts nothing again.",
        "about": "What a person calls the instance. Without it: `one_per`.",
        "requester": "Who asked for it; `requester` in the rest of the file.",
        "when": "Only events for which this holds start an instance.",
        "non_business": "Why a schedule, and no business event, may start this.",
    },
    "Read": {
        "read": "A reading action.",
        "with": "What it is asked.",
        "when": "It is read only if this holds.",
        "optional": "Go on without it when it cannot be read; otherwise the instance stops before any write.",
    },
    "Step": {
        "title": "What people call it.",
        "do": "The writing action. A step has exactly one of `do`, `wait_for` and `call`.",
        "wait_for": "Wait for an event that belongs to this instance.",
        "call": "Start another workflow and wait for its end.",
        "for_each": "Carry the step out once for each item of a list.",
        "needs": "Steps that have to have succeeded. What needs nothing of one another runs at the same time.",
        "after": "Steps to wait for, each until it has settled and no longer than its deadline: `{equipment: 45m}`.",
        "when": "False: the step is skipped, and so is what needs it.",
        "risk": "The tier, 1 to 4. Policies read it; a connector sets the least for each action.",
        "with": "The payload, typed against the connector's contract.",
        "require": "Preconditions, looked at just before the write.",
        "approval": "Who has to release exactly this payload, and when nobody has to.",
        "retry": "How often a write that had no effect is tried again. Without it: once.",
        "timeout": "How long one try may take.",
        "pivot": "From here on the instance goes forward: nothing before is rolled back for what fails later.",
        "expect": "How the write is read back. Without agreement the step is not done.",
        "tell": "Who is told when it is done. A notice is no gate.",
        "importance": "`low`: being undone by hand needs nobody at night.",
        "rollback": "How the step's own effect is taken back.",
        "compensate": "What is done when the step cannot be completed.",
    },
    "Check": {
        "check": "What has to hold.",
        "because": "Why, for the person who reads that it did not.",
        "otherwise": "What becomes of the instance.",
    },
    "Approval": {
        "auto_when": "Nobody is asked while this holds; the rule is recorded as who decided.",
        "otherwise": "Who is asked, and until when.",
        "refused": "What follows from a no.",
        "unanswered": "What follows from silence. It never approves.",
    },
    "Gate": {
        "from": "Who is asked; a list asks all of them.",
        "quorum": "How many different people have to say yes.",
        "remind": "How often they are reminded.",
        "escalate": "Who is asked as well, and when.",
        "give_up": "When it counts as unanswered.",
    },
    "Escalation": {"after": "How long nobody has answered.", "to": "Who is asked as well."},
    "Ending": {
        "then": "What becomes of the instance.",
        "flag": "A flag that later steps read as `flags.NAME`.",
        "tell": "Who is told.",
    },
    "Retry": {
        "attempts": "Tries in all, the first included.",
        "backoff": "`exponential` doubles the pause, with chance added; `fixed` keeps it.",
        "first": "The first pause. A system's own Retry-After wins when it is longer.",
        "max": "The longest pause.",
    },
    "Expect": {
        "read": "A reading action of the same system.",
        "with": "What it is asked.",
        "that": "What has to hold of `found`.",
        "within": "How long it may take to come true; it is polled until then.",
    },
    "NoExpect": {"none": "Why nothing is read back; shown in the audit."},
    "Undo": {
        "do": "The action that takes the effect back.",
        "with": "Its payload.",
        "retry": "How often it is tried.",
        "expect": "How the undoing is read back.",
    },
    "NoUndo": {"none": "Why nothing is to be undone, or can be."},
    "Compensate": {
        "do": "Tasks, flags and further actions, in this order.",
        "then": "What becomes of the instance: one disposition, or one for done by hand and one for not done.",
    },
    "TaskItem": {"task": "Work that a person does in the step's stead."},
    "Task": {
        "to": "Whose it is.",
        "title": "What is to be done; may hold expressions.",
        "due": "When it is due.",
        "escalate": "Who gets it as well, and when.",
        "give_up": "When it counts as not done.",
    },
    "FlagItem": {"flag": "The name of the flag that is set."},
    "ActionItem": {"do": "The action.", "with": "Its payload.", "retry": "How often it is tried."},
    "Then": {
        "done": "When a person has done it and it was read back.",
        "not_done": "When the task failed or nobody did it in time.",
    },
    "WaitFor": {
        "event": "`alias.event`.",
        "match": "Which of these events is meant, such as `event.order_id == trigger.order_id`.",
        "give_up": "How long to wait.",
        "otherwise": "What becomes of the instance when none has come.",
    },
    "CallWorkflow": {
        "workflow": "Which one.",
        "with": "Its trigger data.",
        "give_up": "How long to wait for its end.",
    },
    "ForEach": {
        "items": "An expression that gives a list.",
        "max": "How many at most; a longer list is refused before any write.",
    },
    "Reconcile": {
        "at": "When: `T+2h`, `T+24h`, `month_end`.",
        "T": "What T is: the trigger, or the time when every step had settled.",
        "settle": "A difference has to be seen twice, this far apart.",
        "records": "What is compared, one entry for each record in a system.",
        "on_difference": "What is done about a difference that has settled.",
        "population": "Two whole sets that are compared: nobody missing, nobody extra, nobody twice.",
    },
    "ReconcileRecord": {
        "covers": "The step that wrote it. Every write is covered.",
        "read": "A reading action.",
        "with": "What it is asked.",
        "settle": "As above, for this record alone.",
        "expect": "What its fields should be.",
    },
    "FieldRule": {
        "field": "Which field of what was read.",
        "equals": "It is this.",
        "includes": "Each of these is in it.",
        "one_of": "It is one of these.",
        "matches": "It fits this regular expression.",
        "absent": "It is not there.",
        "within": "A tolerance beside `equals`: an amount, a number or a duration.",
        "ignore_case": "Large and small letters are the same.",
        "severity": "How bad a difference is.",
        "authority": "The system whose later change of this field counts: what should be follows it.",
        "heal": "The action that sets the field right.",
        "heal_with": "Its payload. Without it: the record's key and the field.",
        "mode": "`propose` asks a person before healing; `auto` does not.",
    },
    "OnDifference": {
        "do": "The action that files the ticket: one for each instance and system.",
        "with": "Its payload; reads `difference`.",
        "if_that_fails": "The task of the person who files it by hand.",
    },
    "Population": {
        "every": "How often.",
        "left": "One set.",
        "right": "The other.",
        "expect": "How they belong together.",
        "grace": "How old a record has to be before its absence on the other side counts.",
    },
    "PopulationSide": {
        "read": "An action that lists records.",
        "with": "What it is asked.",
        "key": "The key of a row.",
        "since": "How far back it looks.",
    },
    "Sla": {
        "steps": "The steps that are promised.",
        "within": "How long they may take in all.",
        "of": "From when on.",
        "excluding": "`approval_wait`: time in which people were asked does not count.",
    },
    "Monitor": {
        "step_duration": "How long a step takes.",
        "handoff": "How long work lies between two systems.",
        "exceptions": "How large a share has an exception at a seam.",
    },
    "StepDurationLimit": {"alert_over": "A multiple of the pinned baseline: `2x baseline`."},
    "HandoffLimit": {"target": "What is aimed at.", "alert_over": "What is reported."},
    "ExceptionLimit": {
        "target": "What is aimed at.",
        "alert_over": "What is reported, when it is not by chance.",
        "window": "Over how long it is counted.",
    },
}
KINDS: Final[Mapping[str, str]] = {
    "Ident": "name",
    "Duration": "duration",
    "Condition": "condition",
    "ActionRef": "action",
    "Who": "who",
    "Payload": "payload",
    "Disp": "disposition",
    "Text": "text",
    "Severity": "low, medium or high",
    "Percent": "share",
    "Slug": "name-with-dashes",
}
"""What the types of the schema are called here."""


def page() -> str:
    """Return the page."""
    return HEAD + "".join(_section(name, title) for name, title in SECTIONS.items())


def models() -> Mapping[str, type[BaseModel]]:
    """Return every model of the schema with keys of its own."""
    every = {name: each for name, each in vars(schema).items() if isinstance(each, type)}
    return {name: each for name, each in every.items() if issubclass(each, schema.Closed) and each is not schema.Closed}


def unsaid(words: Mapping[str, Mapping[str, str]] = WORDS) -> list[str]:
    """Return every key without words, and all words without a key."""
    keys = {f"{name}.{key}" for name, model in models().items() for key, _ in _keys(model)}
    said = {f"{name}.{key}" for name, section in words.items() for key in section}
    return sorted(keys ^ said)


def _keys(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in model.model_fields.items():
        yield info.alias or name, info


def _section(name: str, title: str) -> str:
    model = models()[name]
    said = " ".join((model.__doc__ or "").split()).replace("``", "`")
    hints = typing.get_type_hints(model, vars(schema), include_extras=True)
    names = {info.alias or field: field for field, info in model.model_fields.items()}
    rows = [
        f"| `{key}` | {_kind(model, names[key], hints)} | {_default(info)} | {WORDS[name][key]} |"
        for key, info in _keys(model)
    ]
    head = "| key | kind | default | meaning |\n| --- | --- | --- | --- |"
    shown = f"`{title}`" if name != "Workflow" and " " not in title else title
    return f"\n## {shown}\n\n{said}\n\n{head}\n" + "\n".join(rows) + "\n"


def _kind(model: type[BaseModel], field: str, hints: Mapping[str, Any]) -> str:
    written = model.__annotations__.get(field, "")
    text = written if isinstance(written, str) else ""
    if text.split(" ")[0] in KINDS:
        return KINDS[text.split(" ")[0]]
    return _spoken(hints[field])


def _spoken(hint: Any) -> str:
    for name, kind in KINDS.items():
        if hint == getattr(schema, name):
            return kind
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _spoken(arguments[0])
    if origin in (types.UnionType, typing.Union):
        said = dict.fromkeys(_spoken(each) for each in arguments if each is not type(None))
        return " or ".join(said)
    if origin is typing.Literal:
        return " or ".join(f"`{each}`" for each in arguments)
    if origin is list:
        return f"list of {_spoken(arguments[0])}"
    if origin is dict:
        return f"name: {_spoken(arguments[1])}"
    return _single(hint)


def _single(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, schema.Closed):
        title = SECTIONS[hint.__name__]
        return f"see {title}" if " " in title else f"see `{title}`"
    plain = {str: "text", int: "number", bool: "true or false", Any: "any value"}
    return plain.get(hint, str(hint))


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**needed**"
    value = info.default if info.default is not PydanticUndefined else info.get_default(call_default_factory=True)
    if value is None or value in ([], {}) or isinstance(value, BaseModel):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
