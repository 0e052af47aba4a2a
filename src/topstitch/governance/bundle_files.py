"""Decides whether the files of a folder are a policy bundle, and says where not.

``topstitch policy test`` and ``publish`` hand over the text of each file; findings come back
with places and remedies, as for definitions. The sections (``policy``, ``version``, ``owner``,
``hard``, ``soft``, ``defaults``, ``asking``, ``tests``) may stand in any file: a security reviewer
wants the hard rules in one of their own. A bundle without tests is refused. No file is opened here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from topstitch.foundation.errors import AuthorError
from topstitch.foundation.timetext import parse_duration
from topstitch.governance.bundle import TIERS, Asking, Bundle, Rule, demanded
from topstitch.governance.facts import SCHEMAS, typed, untold
from topstitch.governance.obligations import parse_ruling
from topstitch.language.cel import ExpressionError
from topstitch.language.expressions import compile_template
from topstitch.language.load import Document, Path, load
from topstitch.language.report import Report, nearest, place_in
from topstitch.model.finding import Finding

FILES_MAX: Final = 50
RULES_MAX: Final = 500

Findings = tuple[tuple[Document, tuple[Finding, ...]], ...]
"""Each file as read, with what was found in it."""
Add = Callable[[Path, str, str | None], None]


def read_bundle(files: Mapping[str, str]) -> tuple[Bundle | None, Findings]:
    """Return the bundle, unless something is wrong, and the findings of each file. ``files`` maps name to text."""
    reader = _Reader({name: load(files[name], name) for name in sorted(files)[:FILES_MAX]})
    bundle = reader.bundle()
    findings = tuple((report.document, report.done()) for report in reader.reports)
    wrong = any(finding.severity == "error" for _, found in findings for finding in found)
    return (None if wrong else bundle), findings


def load_bundle(files: Mapping[str, str]) -> Bundle:
    """Return the bundle; raise ``AuthorError`` that names every place that is wrong."""
    bundle, findings = read_bundle(files)
    if bundle is not None:
        return bundle
    lines = [
        f"{document.path}:{f.span.line}:{f.span.column}: {f.message}" + (f"; {f.help}" if f.help else "")
        for document, found in findings
        for f in found
    ]
    raise AuthorError(
        "policy-bundle", "this is no policy bundle:\n" + "\n".join(lines), detail={"findings": len(lines)}
    )


class _Reader:
    """Reads all files of one bundle, and keeps what is wrong with each."""

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self.reports = [Report(document) for document in documents.values()]
        self.seen: dict[str, str] = {}
        self.rules: dict[str, Rule] = {}
        self.tests: list[Mapping[str, Any]] = []
        self.single: dict[str, Any] = {}

    def bundle(self) -> Bundle | None:
        for report in self.reports:
            self._file(report)
        if not self.reports:
            self.reports.append(Report(load("", "(the folder)")))
            return None
        self._whole(self.reports[0])
        if not {"policy", "version", "owner"} <= set(self.single):
            return None
        return Bundle(
            name=self.single["policy"],
            version=self.single["version"],
            owner=self.single["owner"],
            rules=tuple(sorted(self.rules.values(), key=lambda rule: rule.id)),
            defaults=self.single.get("defaults", {}),
            asking=self.single.get("asking", Asking()),
            tests=tuple(self.tests),
        )

    def _whole(self, report: Report) -> None:
        """Say what the files lack together."""
        for section, remedy in _NEEDED.items():
            if section not in self.seen:
                report.missing((), section, remedy, code="policy")
        if "tests" in self.seen and not self.tests:
            report.add("policy-tests", ("tests",), "the bundle has no tests", _NEEDED["tests"])
        if len(self.rules) > RULES_MAX:
            report.add("policy", (), f"the bundle has more than {RULES_MAX} rules", "split it by environment")

    def _file(self, report: Report) -> None:
        data = report.document.data
        if not isinstance(data, dict):
            if data is not None:
                report.add(
                    "policy",
                    (),
                    "a file of a bundle is a mapping of sections",
                    "start with 'soft:' or 'policy: a-name'",
                )
            return
        for section, value in data.items():
            read = _SECTIONS.get(section)
            if read is None:
                report.add(
                    "policy", (section,), f"there is no section '{section}'", nearest(section, _SECTIONS), key=True
                )
            elif section in self.seen and section not in _LISTS:
                where = self.seen[section]
                report.add(
                    "policy", (section,), f"'{section}' stands in {where} already", "remove one of the two", key=True
                )
            else:
                self.seen[section] = report.document.path
                read(self, report, value)

    def name(self, report: Report, value: Any) -> None:
        self._matching(report, "policy", value, r"[a-z][a-z0-9-]*", "a name of small letters, digits and -")

    def version(self, report: Report, value: Any) -> None:
        self._matching(report, "version", value, r"\d+\.\d+\.\d+", "three numbers such as 1.4.0")

    def _matching(self, report: Report, section: str, value: Any, pattern: str, words: str) -> None:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            self.single[section] = value
        else:
            report.add("policy", (section,), f"'{section}' wants {words}", None)

    def owner(self, report: Report, value: Any) -> None:
        if isinstance(value, dict) and isinstance(value.get("team"), str) and set(value) == {"team"}:
            self.single["owner"] = value["team"]
        else:
            report.add(
                "policy", ("owner",), "'owner' names the team that answers for the rules", "write {team: a-team}"
            )

    def defaults(self, report: Report, value: Any) -> None:
        found: dict[int, str] = {}
        for name, text in _fields(report, ("defaults",), value):
            tier = int(name[5:]) if re.fullmatch(r"tier_[1-4]", name) else 0
            if tier not in TIERS:
                report.add(
                    "policy", ("defaults", name), f"there is no tier '{name}'", "write tier_1 to tier_4", key=True
                )
            elif _ruling(report, ("defaults", name), text):
                found[tier] = str(text)
        for tier in TIERS:
            if f"tier_{tier}" not in (value if isinstance(value, dict) else {}):
                report.missing(
                    ("defaults",), f"tier_{tier}", "say what a tier demands at least, such as auto", code="policy"
                )
        self.single["defaults"] = found

    def asking(self, report: Report, value: Any) -> None:
        found: dict[str, Any] = {}
        for name, given in _fields(report, ("asking",), value):
            field = _ASKING.get(name)
            if field is None:
                report.add(
                    "policy", ("asking", name), f"there is no field '{name}' here", nearest(name, _ASKING), key=True
                )
                continue
            try:
                found[field[0]] = field[1](given)
            except (ValueError, TypeError) as failure:
                report.add("policy", ("asking", name), f"'{name}' does not fit: {failure}", None)
        self.single["asking"] = Asking(**found)

    def hard(self, report: Report, value: Any) -> None:
        self._rules(report, "hard", value)

    def soft(self, report: Report, value: Any) -> None:
        self._rules(report, "soft", value)

    def _rules(self, report: Report, section: str, value: Any) -> None:
        for index, one in _items(report, (section,), value):
            path: Path = (section, index)
            if not isinstance(one, dict):
                report.add("policy", path, "a rule is a mapping", "write id, when, and what it demands")
            elif self._is_rule(report, path, one, hard=section == "hard"):
                demand = {name: part for name, part in one.items() if name not in ("id", "when")}
                when = str(one["when"]).lower() if isinstance(one["when"], bool) else one["when"]
                self.rules[one["id"]] = Rule(id=one["id"], when=when, hard=section == "hard", demand=demand)

    def _is_rule(self, report: Report, path: Path, one: dict[str, Any], *, hard: bool) -> bool:
        fine = True
        demands = ("deny",) if hard else ("approve", "notify")
        for name in one:
            if name not in ("id", "when", *demands):
                other = (
                    "a soft rule asks or tells" if not hard else "a hard rule denies; what people may release is soft"
                )
                report.add("policy", (*path, name), f"there is no field '{name}' here", other, key=True)
                fine = False
        for name in ("id", "when"):
            if name not in one:
                report.missing(path, name, _RULE_REMEDIES[name], code="policy")
                fine = False
        if sum(name in one for name in demands) != 1:
            report.missing(path, demands[0], f"a rule demands one thing: {' or '.join(demands)}", code="policy")
            fine = False
        return fine and self._fits(report, path, one)

    def _fits(self, report: Report, path: Path, one: dict[str, Any]) -> bool:
        identity = one["id"]
        if not isinstance(identity, str) or not re.fullmatch(r"[a-z][a-z0-9-]*", identity):
            report.add("policy", (*path, "id"), "'id' wants a name of small letters, digits and -", None)
            return False
        if identity in self.rules or re.fullmatch(r"tier-[0-9]+", identity):
            report.add(
                "policy", (*path, "id"), f"there is a rule '{identity}' already", "every rule has a name of its own"
            )
            return False
        condition = one["when"]
        fine = isinstance(condition, bool) or _condition(report, (*path, "when"), condition)
        return _demand(report, path, one) and fine

    def cases(self, report: Report, value: Any) -> None:
        for index, one in _items(report, ("tests",), value):
            path: Path = ("tests", index)
            if not isinstance(one, dict) or not {"given", "then"} <= set(one) <= {"given", "then", "because"}:
                report.add(
                    "policy-tests",
                    path,
                    "a test has 'given', 'then', and may say 'because'",
                    "write {given: ..., then: auto}",
                )
                continue
            given = one["given"] if isinstance(one["given"], dict) else {}
            for name in given:
                if name not in (*SCHEMAS, "rates"):
                    remedy = nearest(name, [*SCHEMAS, "rates"])
                    report.add("policy-tests", (*path, "given", name), f"there is no fact '{name}'", remedy, key=True)
            if _ruling(report, (*path, "then"), one["then"]):
                self.tests.append(one)


_SECTIONS: Final[Mapping[str, Callable[[_Reader, Report, Any], None]]] = {
    "policy": _Reader.name,
    "version": _Reader.version,
    "owner": _Reader.owner,
    "hard": _Reader.hard,
    "soft": _Reader.soft,
    "defaults": _Reader.defaults,
    "asking": _Reader.asking,
    "tests": _Reader.cases,
}
_LISTS: Final = frozenset({"hard", "soft", "tests"})
_NEEDED: Final = {
    "policy": "name the bundle: 'policy: people-processes'",
    "version": "every bundle has a version such as 1.0.0",
    "owner": "somebody answers for the rules: 'owner: {team: internal-controls}'",
    "defaults": "say what each risk tier demands at least: 'defaults: {tier_1: auto, ...}'",
    "tests": "a bundle without tests is refused: write 'tests: [{given: ..., then: auto}]'",
}
_RULE_REMEDIES: Final = {
    "id": "name the rule: it stands in every record of what it decided",
    "when": "say when it applies, such as 'when: step.risk == 4'",
}


def _disposition(value: Any) -> str:
    if value not in ("continue", "rollback", "stop"):
        raise ValueError("write continue, rollback or stop")
    return str(value)


def _hours(value: Any) -> bool:
    if value not in ("all", "business"):
        raise ValueError("write all or business")
    return bool(value == "business")


_ASKING: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "remind": ("remind_seconds", parse_duration),
    "escalate_after": ("escalate_seconds", parse_duration),
    "escalate_to": ("escalate_to", str),
    "give_up": ("give_up_seconds", parse_duration),
    "refused": ("refused", _disposition),
    "unanswered": ("unanswered", _disposition),
    "hours": ("business_hours", _hours),
}


def _condition(report: Report, path: Path, source: Any) -> bool:
    """Say what is wrong with a condition, in its place."""
    if not isinstance(source, str):
        report.add("policy-when", path, "'when' wants an expression", "put it in quotes")
        return False
    try:
        kind, syntax = typed(source)
    except ExpressionError as failure:
        rows = source.split("\n")
        offset = sum(len(row) + 1 for row in rows[: failure.line - 1]) + failure.column - 1
        place = place_in(report.document, path, offset, failure.length)
        report.add("policy-when", path, failure.sentence, failure.help, span=place)
        return False
    trouble = untold(syntax)
    if kind.upper() not in ("BOOL", "DYN"):
        trouble = "the condition is neither true nor false: write a comparison"
    if trouble is not None:
        sentence, _, remedy = trouble.partition(": ")
        report.add("policy-when", path, sentence, remedy)
    return trouble is None


def _demand(report: Report, path: Path, one: dict[str, Any]) -> bool:
    try:
        if "deny" in one:
            return _denial(report, (*path, "deny"), one["deny"])
        if "approve" in one:
            given = one["approve"]
            if not isinstance(given, dict) or not {"from"} <= set(given) <= {"from", "quorum", "evidence"}:
                raise ValueError(
                    "'approve' wants from, and may have quorum and evidence: write {from: owner, quorum: 1}"
                )
            if not isinstance(given.get("quorum", 1), int):
                raise ValueError("'quorum' wants a whole number")
        demanded(one)
    except ValueError as failure:
        name = next(name for name in ("deny", "approve", "notify") if name in one)
        sentence, _, remedy = str(failure).partition("; ")
        report.add("policy-demand", (*path, name), sentence, remedy or None)
        return False
    return True


def _denial(report: Report, path: Path, text: Any) -> bool:
    if not isinstance(text, str) or not text.strip():
        raise ValueError("'deny' says why, for the person who reads it; write a sentence")
    try:
        template = compile_template(text)
        for expression in template.expressions:
            trouble = untold(typed(expression.source)[1])
            if trouble is not None:
                raise ValueError(trouble.replace(": ", "; ", 1))
    except ExpressionError as failure:
        report.add("policy-demand", path, failure.sentence, failure.help)
        return False
    return True


def _ruling(report: Report, path: Path, text: Any) -> bool:
    try:
        parse_ruling(text)
    except ValueError as failure:
        sentence, _, remedy = str(failure).partition("; ")
        report.add("policy-demand", path, sentence, remedy or None)
        return False
    return True


def _fields(report: Report, path: Path, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    else:
        report.add("policy", path, f"'{path[-1]}' wants a mapping of fields", None)


def _items(report: Report, path: Path, value: Any) -> Iterator[tuple[int, Any]]:
    if isinstance(value, list):
        yield from enumerate(value)
    elif value is not None:
        report.add("policy", path, f"'{path[-1]}' wants a list", None)
