"""Writes the pages of the reference that follow from the code; the tests of the documents fail when they disagree.

``python tools/reference_pages.py`` writes all of them, the command line's too. It reads the product and changes
nothing in it.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools import cli_reference, error_codes, language_page  # noqa: E402 -- after the path is set

from topstitch.api.problems import STATUS_BY_CODE, STATUS_BY_KIND, TITLES  # noqa: E402
from topstitch.cli.command import EXIT_CODES, FAILED, UNREACHABLE, UNREACHABLE_CODES  # noqa: E402
from topstitch.settings import SETTINGS  # noqa: E402

FOLDER: Final = ROOT / "docs" / "reference"
SOURCE: Final = ROOT / "src" / "topstitch"
WRITTEN: Final = "This page is written by `tools/reference_pages.py`"

ACTS: Final[Mapping[str, str]] = {
    "AuthorError": "the author of the definition or policy",
    "RequestError": "the caller, who sends something else",
    "NotFoundError": "the caller, who names something that exists",
    "NotAllowedError": "somebody who may",
    "ConflictError": "the caller, who looks again",
    "OperatorError": "the operator of the installation",
    "TamperError": "the auditor",
    "TransientError": "nobody yet: it is tried again",
    "PermanentError": "whoever owns the record or the step",
    "ChangedError": "nobody yet: it is looked at",
    "UnknownOutcomeError": "nobody yet: it is looked up",
    "CredentialError": "the owner of the connection",
    "ConnectorError": "whoever owns the connection",
    "TopstitchError": "nobody: the engine decides again",
    "FencedError": "nobody: another process has taken over",
    "BehindError": "nobody: the engine decides again",
}
"""Who must act, by kind of error."""

STATUSES: Final = (
    ("An instance, while it is open", "model/query.py", None),
    ("How an instance ends", "model/instance.py", "InstanceEnd"),
    ("Which way an instance goes", "model/instance.py", "Mode"),
    ("A step", "model/instance.py", "StepStatus"),
    ("One write (an *act*)", "model/state.py", "ActStatus"),
    ("Why a write could not be completed", "model/state.py", "Failure"),
    ("How one call ended", "model/orders.py", "Result"),
    ("What becomes of the instance: dispositions", "model/instance.py", "Disposition"),
    ("What an action does to the world", "model/action.py", "Effect"),
    ("How a repeated write is kept from happening twice", "model/action.py", "Idempotency"),
    ("The five stages", "model/record.py", "Stage"),
    ("Who acts", "model/record.py", "ActorKind"),
    ("A promise", "metrics/sla.py", "PromiseState"),
    ("A seam's band", "metrics/seams.py", "Band"),
    ("A share of exceptions", "metrics/exceptions.py", "Share"),
    ("A step's pace", "metrics/baselines.py", "Pace"),
    ("Where time went", "metrics/time_split.py", "Where"),
    ("What an alert is about", "metrics/alerts.py", "Kind"),
    ("How bad an alert is", "metrics/alerts.py", "Level"),
    ("How far a verification reaches", "audit/verify.py", "Trust"),
    ("What a verification names", "audit/chain.py", "Tampering"),
)
"""Each set of statuses: its heading, its module, its class."""
PLAIN: Final[Mapping[str, Mapping[str, str]]] = {
    "An instance, while it is open": {
        "running": "Something is being read or written, or is due now.",
        "waiting": "For a person, an event, a time or another workflow; `waiting_on` says which.",
        "paused": "A person has paused it, or the connection that it needs next.",
    },
    "Which way an instance goes": {
        "forward": "Steps are carried out.",
        "stopping": "Nothing new is begun; what is under way is brought to an end that is known.",
        "rolling_back": "Effects are taken back, in reverse order of what needed what.",
        "finished": "Every step has settled; checks may still be due.",
    },
    "How an instance ends": {
        "completed": "Every step is done or was not wanted, and the systems agreed.",
        "completed_with_exceptions": "It reached its end, and something was done by hand, declined, given up or "
        "still differs.",
        "rolled_back": "What it did was taken back.",
        "rolled_back_with_exceptions": "It was taken back, but for what the residue names.",
        "stopped": "It began nothing more, as declared; the residue names what steps that were given up may have left.",
        "cancelled": "A person cancelled it.",
    },
    "Why a write could not be completed": {
        "refused": "The system says no, and that it did nothing.",
        "unreachable": "It could not be reached for as many tries as there were.",
        "unknown": "Sent; whether it happened cannot be found out.",
        "disagrees": "Done, and what is read back is not what was meant.",
        "some_failed": "Of several items, some could not be completed.",
        "expression": "The payload could not be worked out.",
        "called_off": "Never sent, and no longer wanted.",
    },
    "What becomes of the instance: dispositions": {
        "continue": "It goes on without this step.",
        "rollback": "What was done is undone.",
        "stop": "It begins nothing more.",
    },
    "The five stages": {
        "trigger": "One event is accepted.",
        "context": "What is needed is read; nothing is written.",
        "execution": "Steps are carried out, undone and compensated.",
        "reconciliation": "The systems are compared with what should be.",
        "audit": "What happened is sealed, verified and proved.",
    },
    "Who acts": {
        "human": "A person.",
        "agent": "A program that proposes and never decides.",
        "policy": "A rule that was published.",
        "system": "The engine, or a business system.",
    },
}
"""What a status means where the source says it of the whole set only."""
SETTINGS_HEAD: Final = f"""# Settings

A setting is taken from the command's flag, else from its variable, else from `topstitch.toml` in the data folder, else
from its default. An unknown name and an unfit value are refused with the place where they stand.
{WRITTEN}.

| in `topstitch.toml` | variable | kind | default | meaning |
| --- | --- | --- | --- | --- |"""
SETTINGS_FOOT: Final = """
An example:

```toml
database = "postgresql://topstitch@db.corp.example/topstitch"
port = 8700
anchors = ["folder:/mnt/worm"]
```
"""
ITEMS: Final = """
## What waits for people

| what | statuses |
| --- | --- |
| approval | `open`, then `approved`, `refused`, `unanswered`, `void` (what it was about is gone) or `withdrawn` |
| task | `open`; `done` or `failed`, as its person says; `closed`, with an ending |
| ending of a task | `accepted`, `failed`, `expired` or `withdrawn` |
| exception case | `open`, then `closed` |
| discrepancy | `suspected`, `confirmed`, `ticketed`, `healing`, `waived`; then `resolved`, `accepted` or `superseded` |
| alert | `suspected`, `open`, `cleared` |

## The moves of a step

| from | to | when |
| --- | --- | --- |
| `waiting` | `skipped` | its condition is false |
| `waiting` | `not_run` | something it needs did not succeed, or the instance stops |
| `waiting` | `declined` | a precondition does not hold, or a rule denies it |
| `waiting` | `asking` | a person has to release it |
| `asking` | `waiting` | the approval has closed; released, it goes on to `running` |
| `asking` | `declined` | refused, or nobody answered |
| `waiting` | `running` | the first write's intent is on disk |
| `running` | `unknown` | sent, and no answer that tells |
| `unknown` | `running` | the look-up found it, or found that it never happened |
| `running` | `done` | confirmed by a read-back |
| `running`, `unknown` | `compensating` | it cannot be completed |
| `compensating` | `done_by_hand` | a person did it, and it was read back |
| `compensating` | `given_up` | nobody did |
| `done`, `done_by_hand` | `undoing` | the instance rolls back |
| `undoing` | `undone`, `undone_by_hand`, `undo_open` | taken back, taken back by a person, or still there |
| `done`, `done_by_hand` | `kept` | declared as not to be undone |
"""


def settings_page() -> str:
    """Return the page of settings."""
    lines = [SETTINGS_HEAD]
    for each in SETTINGS:
        default = f"`{each.default}`" if each.default else ""
        name = f"`{each.name}`" if each.name != "data" else "(`--data` only)"
        lines.append(f"| {name} | `{each.variable}` | {each.kind} | {default} | {_prose(each.doc)} |")
    example = (
        'database = "postgresql://topstitch@db.corp.example/topstitch"\nport = 8700\nanchors = ["folder:/mnt/worm"]'
    )
    lines.append(f"\nAn example:\n\n```toml\n{example}\n```\n")
    return "\n".join(lines)


def errors_page() -> str:
    """Return the page of error codes."""
    codes = dict(error_codes.error_codes())
    for code, title in TITLES.items():
        codes.setdefault(code, (error_codes.Said("RequestError", f"{title}; see the answer's detail", "api"),))
    intro = f"""# Error codes

Every error has a code that stays the same, and a message that ends with the remedy. Commands print
`error[code]: message` and end with the exit code named here; the HTTP interface answers with a problem document
(RFC 9457) that carries the same code. Codes with an underscore say what happened at a business system; they stand in
an instance's attempts, and most of them pass without anybody. What stands in `{{braces}}` varies.
{WRITTEN} from the places where errors are made.

Remarks on definitions and policies have [codes of their own](findings.md).
"""
    return intro + "".join(_code(code, said) for code, said in sorted(codes.items()))


def findings_page() -> str:
    """Return the page of the codes of findings."""
    intro = f"""# Findings

What `topstitch validate`, `verify`, `publish` and `policy test` say of a file: code, place, message, remedy. A finding
of severity *error* keeps a definition from being published; a *warning* does not. What stands in `{{braces}}` varies.
{WRITTEN} from the checks themselves.
"""
    sections = [
        f"\n## {code}\n\n" + "".join(f"* {_prose(words)}\n" for words in _words(said))
        for code, said in error_codes.finding_codes().items()
    ]
    return intro + "".join(sections)


def statuses_page() -> str:
    """Return the page of statuses and state machines."""
    intro = f"""# Statuses and state machines

Every status there is, as the journal, the API and the console write it. {WRITTEN} from the
source.
"""
    return intro + "".join(_status(*each) for each in STATUSES) + ITEMS


def records_page() -> str:
    """Return the page of the kinds of record."""
    intro = f"""# Records

The journal of an instance is a list of these. `?` marks a key that may be absent, times are RFC 3339 text, `*_ms` are
milliseconds. An *act* is one write being carried out: a step's own (`identity`), one item's (`accounts[3]`), its undo
(`identity/undo`), a compensating action (`equipment/compensate/1`) or a reconciliation's
(`@reconcile/directory/ticket`). How records are chained stands in [the audit format](audit-format.md). {WRITTEN}
from `model/kinds.py`.

| kind | body |
| --- | --- |
"""
    rows = [f"| `{value}` | {_code_body(doc)} |" for value, doc in members("model/kinds.py", "Kind")]
    return intro + "\n".join(rows) + "\n"


def language() -> str:
    """Return the page of the workflow language; raise when a key has no words."""
    if missing := language_page.unsaid():
        raise ValueError(f"say in tools/language_page.py what these mean, or remove them: {', '.join(missing)}")
    return language_page.page()


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "findings.md": findings_page,
    "statuses.md": statuses_page,
    "records.md": records_page,
    "workflow-language.md": language,
    "cli.md": cli_reference.page,
}
"""Every page that is written, and what writes it."""


def members(path: str, name: str, source: Path = SOURCE) -> Iterator[tuple[str, str]]:
    """Yield each member of an enumeration and the sentence that stands under it."""
    tree = ast.parse((source / path).read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    for number, node in enumerate(found.body):
        match node:
            case ast.Assign(value=ast.Constant(value=str(value))):
                yield value, _sentence(found.body[number + 1 : number + 2])


def _sentence(nodes: Iterable[ast.stmt]) -> str:
    for node in nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return " ".join(str(node.value.value).split())
    return ""


def _status(heading: str, path: str, name: str | None) -> str:
    plain = PLAIN.get(heading, {})
    found = list(members(path, name)) if name else list(plain.items())
    silent = [value for value, doc in found if not (doc or plain.get(value))]
    if silent:
        raise ValueError(f"say in {path}, or in tools/reference_pages.py, what these mean: {', '.join(silent)}")
    rows = [f"| `{value}` | {_prose(plain.get(value) or doc)} |" for value, doc in found]
    return f"\n## {heading}\n\n| status | meaning |\n| --- | --- |\n" + "\n".join(rows) + "\n"


def _code(code: str, said: Iterable[error_codes.Said]) -> str:
    said = tuple(said)
    kinds = list(dict.fromkeys(one.kind for one in said))
    lines = [f"\n## {code}\n"]
    for kind in kinds:
        words = _words(one for one in said if one.kind == kind)
        known = next(each for each in _above(kind) if each in ACTS)
        lines.append(f"Acts: {ACTS[known]}.{_leaves(code, kind)}\n")
        lines += [f"* {_prose(text)}" for text in words]
        lines.append("")
    return "\n".join(lines)


@functools.cache
def _kinds() -> Mapping[str, str]:
    return error_codes.error_kinds(error_codes.trees())


def _above(kind: str) -> list[str]:
    """Return a kind of error and those above it."""
    bases = _kinds()
    found = [kind]
    while bases.get(found[-1]):
        found.append(bases[found[-1]])
    return found


def _leaves(code: str, kind: str) -> str:
    """Return how the error leaves by the doors; what stays inside an instance has neither."""
    if "_" in code and kind not in ("OperatorError", "RequestError"):
        return ""
    above = _above(kind)
    exit_code = next((number for each, number in EXIT_CODES if each.__name__ in above), FAILED)
    exit_code = UNREACHABLE if code in UNREACHABLE_CODES else exit_code
    status = STATUS_BY_CODE.get(code) or next((s for each, s in STATUS_BY_KIND if each.__name__ in above), 500)
    return f" Exit code {exit_code}, HTTP {status}."


def _words(said: Iterable[error_codes.Said]) -> list[str]:
    return list(dict.fromkeys(one.words for one in said))


def _prose(text: str) -> str:
    """Return text that Markdown leaves as it is; what stands between backquotes is code already."""
    plain = " ".join(text.replace("``", "`").split())
    parts = plain.split("`")
    if len(parts) % 2 == 0:
        parts = ["'".join(parts)]
    for number in range(0, len(parts), 2):
        for sign in "\\*_<[]{}|$":
            parts[number] = parts[number].replace(sign, f"\\{sign}")
    return "`".join(part.replace("|", "\\|") if number % 2 else part for number, part in enumerate(parts))


def _code_body(doc: str) -> str:
    """Return a body's keys as code, and what follows them as text."""
    end = doc.rfind("}") + 1
    body = doc[:end].replace("|", "\\|")
    return f"`{body}` {_prose(doc[end:].strip())}".rstrip()


def main() -> None:
    """Write every page that has changed."""
    for name, write in PAGES.items():
        path, text = FOLDER / name, write()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
