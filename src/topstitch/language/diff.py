"""Decides what changed between two versions of a definition, in business terms, and how much.

``topstitch diff`` prints it, ``publish`` refuses a version number that promises less than
changed. Major: what starts it, what it does, in which order, under which conditions, how it
is undone. Minor: what is added or made stricter. Patch: words and patience.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from topstitch.language.normal import normal_form
from topstitch.language.schema import Workflow


class Level(IntEnum):
    """How much a change weighs, and which part of the version it moves."""

    SAME = 0
    PATCH = 1
    MINOR = 2
    MAJOR = 3

    @property
    def word(self) -> str:
        """Return the level as it is written."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, as a sentence."""

    level: Level
    sentence: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """All changes, what they weigh, and what the version numbers say."""

    changes: tuple[Change, ...]
    level: Level
    declared: Level
    """Which part of the version was moved; ``SAME`` when it was not, or moved back."""

    @property
    def refused(self) -> bool:
        """Whether the version number promises less than changed."""
        return self.declared < self.level

    def verdict(self) -> str:
        """Say whether the version number fits."""
        if self.level is Level.SAME:
            return "nothing changed"
        if not self.refused:
            return f"this is a {self.level.word} change"
        says = f"the version says {self.declared.word}" if self.declared else "the version was not raised"
        return f"this is a {self.level.word} change; {says}; raise the {self.level.word} part of the version"


def diff(old: Workflow, new: Workflow) -> Diff:
    """Compare two versions."""
    before, after = normal_form(old), normal_form(new)
    changes = (*_top(before, after), *_context(before, after), *_steps(before, after))
    return Diff(
        changes=changes,
        level=max((change.level for change in changes), default=Level.SAME),
        declared=_declared(old.version, new.version),
    )


def _declared(old: str, new: str) -> Level:
    mine, other = [tuple(int(part) for part in version.split(".")) for version in (old, new)]
    if other <= mine:
        return Level.SAME
    for level, index in ((Level.MAJOR, 0), (Level.MINOR, 1)):
        if other[index] > mine[index]:
            return level
    return Level.PATCH


_TOP: Final[tuple[tuple[str, Level, str], ...]] = (
    ("workflow", Level.MAJOR, "the workflow is another"),
    ("trigger", Level.MAJOR, "what starts it changed"),
    ("systems", Level.MAJOR, "the systems changed"),
    ("reconcile", Level.MINOR, "the reconciliation changed"),
    ("sla", Level.MINOR, "the promises changed"),
    ("owner", Level.PATCH, "the owner changed"),
    ("title", Level.PATCH, "the title changed"),
    ("purpose", Level.PATCH, "the purpose changed"),
    ("monitor", Level.PATCH, "the limits of the metrics changed"),
)


def _top(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    for name, level, sentence in _TOP:
        if before.get(name) == after.get(name):
            continue
        if name == "trigger" and _without(before[name], "about") == _without(after[name], "about"):
            yield Change(level=Level.PATCH, sentence="what people call an instance changed", path=(name,))
        elif name == "systems" and before[name].items() <= after[name].items():
            added = ", ".join(sorted(after[name].keys() - before[name].keys()))
            yield Change(level=Level.MINOR, sentence=f"new system: {added}", path=(name,))
        elif isinstance(after.get(name), dict):
            parts = ", ".join(_parts(before[name], after[name]))
            yield Change(level=level, sentence=f"{sentence}: {parts}", path=(name,))
        else:
            yield Change(
                level=level,
                sentence=f"{sentence}: {_shown(after.get(name))} (before: {_shown(before.get(name))})",
                path=(name,),
            )


def _context(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    old, new = before["context"], after["context"]
    for name in sorted(old.keys() | new.keys()):
        path = ("context", name)
        if name not in new:
            yield Change(level=Level.MAJOR, sentence=f"context '{name}' is no longer read", path=path)
        elif name not in old:
            yield Change(level=Level.MINOR, sentence=f"context '{name}' is read as well", path=path)
        elif old[name] != new[name]:
            same = _without(old[name], "with") == _without(new[name], "with")
            yield Change(
                level=Level.MINOR if same else Level.MAJOR,
                sentence=f"context '{name}' is read otherwise: {', '.join(_parts(old[name], new[name]))}",
                path=path,
            )


def _steps(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    old, new = before["steps"], after["steps"]
    for name in old:
        if name not in new:
            yield Change(level=Level.MAJOR, sentence=f"'{old[name]['title']}' is gone", path=("steps", name))
        else:
            yield from _step(name, old[name], new[name])
    for name in new:
        if name not in old:
            yield Change(level=Level.MINOR, sentence=f"new step '{new[name]['title']}'", path=("steps", name))


Compare = Callable[[Any, Any], tuple[Level, str]]


def _step(name: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    title = new["title"]
    if old["title"] != title:
        yield Change(
            level=Level.PATCH, sentence=f"'{old['title']}' is now called '{title}'", path=("steps", name, "title")
        )
    if (old["needs"], old["after"]) != (new["needs"], new["after"]):
        yield Change(
            level=Level.MAJOR,
            sentence=f"'{title}' now waits for {_waits(new)} (before: {_waits(old)})",
            path=("steps", name, "needs"),
        )
    for field in sorted((old.keys() | new.keys()) - {"title", "needs", "after"}):
        mine: Any = old.get(field)
        other: Any = new.get(field)
        if mine == other:
            continue
        path = ("steps", name, field)
        if field == "approval":
            yield from _approval(title, mine, other, path)
        elif field == "with":
            yield Change(
                level=Level.MINOR,
                sentence=f"'{title}' sends another payload: {', '.join(_parts(mine, other))}",
                path=path,
            )
        else:
            level, sentence = _FIELDS[field](mine, other)
            yield Change(level=level, sentence=f"'{title}' {sentence}", path=path)


def _waits(step: dict[str, Any]) -> str:
    return (
        ", ".join([*step["needs"], *(f"{name} for {deadline} at most" for name, deadline in step["after"].items())])
        or "nothing"
    )


def _fixed(level: Level, sentence: str) -> Compare:
    return lambda old, new: (level, f"{sentence} {_shown(new)} (before: {_shown(old)})")


def _risk(old: int | None, new: int | None) -> tuple[Level, str]:
    return (
        Level.MINOR if (new or 0) > (old or 0) else Level.MAJOR
    ), f"has risk {new or 'as the connector says'} (before: {old or 'as the connector says'})"


def _retry(old: dict[str, Any], new: dict[str, Any]) -> tuple[Level, str]:
    if old["attempts"] != new["attempts"]:
        return Level.PATCH, f"is retried {new['attempts']} times (before: {old['attempts']})"
    return Level.PATCH, f"pauses otherwise between attempts: {', '.join(_parts(old, new))}"


def _expect(old: Any, new: Any) -> tuple[Level, str]:
    mine, other = [_conditions(each) for each in (old, new)]
    if mine == other:
        return Level.PATCH, "is read back with another payload or patience"
    if mine < other:
        return Level.MINOR, "is read back more strictly"
    return Level.MAJOR, "is read back otherwise"


def _conditions(expect: Any) -> set[tuple[str, str]]:
    return {(each["read"], each["that"]) for each in expect} if isinstance(expect, list) else set()


_FIELDS: Final[dict[str, Compare]] = {
    "do": _fixed(Level.MAJOR, "now does"),
    "wait_for": _fixed(Level.MAJOR, "now waits for the event"),
    "call": _fixed(Level.MAJOR, "now starts"),
    "for_each": _fixed(Level.MAJOR, "is now carried out for each of"),
    "when": _fixed(Level.MAJOR, "now runs when"),
    "require": _fixed(Level.MAJOR, "now requires"),
    "rollback": _fixed(Level.MAJOR, "is now undone by"),
    "pivot": _fixed(Level.MAJOR, "is a pivot:"),
    "risk": _risk,
    "retry": _retry,
    "timeout": _fixed(Level.PATCH, "may take per attempt"),
    "expect": _expect,
    "compensate": _fixed(Level.MINOR, "is now compensated by"),
    "tell": _fixed(Level.MINOR, "now tells"),
    "importance": _fixed(Level.MINOR, "now has importance"),
}


def _approval(
    title: str, old: dict[str, Any] | None, new: dict[str, Any] | None, path: tuple[str, ...]
) -> Iterator[Change]:
    if old is None or new is None:
        level = Level.MINOR if old is None else Level.MAJOR
        yield Change(
            level=level,
            sentence=f"'{title}' {'now needs an approval' if old is None else 'no longer needs an approval'}",
            path=path,
        )
        return
    if old.get("auto_when") != new.get("auto_when"):
        level = Level.MINOR if new.get("auto_when") is None else Level.MAJOR
        asked = [_shown(each.get("auto_when")) for each in (old, new)]
        yield Change(
            level=level,
            sentence=f"'{title}' is approved automatically when {asked[1]} (before: {asked[0]})",
            path=(*path, "auto_when"),
        )
    yield from _gate(title, old["otherwise"], new["otherwise"], (*path, "otherwise"))
    for ending, words in (("refused", "a refusal"), ("unanswered", "no answer")):
        mine, other = old[ending], new[ending]
        if mine != other:
            level = Level.MAJOR if mine["then"] != other["then"] else Level.MINOR
            yield Change(
                level=level,
                sentence=f"'{title}': {words} now means {_shown(other)} (before: {_shown(mine)})",
                path=(*path, ending),
            )


def _gate(title: str, old: dict[str, Any], new: dict[str, Any], path: tuple[str, ...]) -> Iterator[Change]:
    if old["from"] != new["from"]:
        yield Change(
            level=Level.MAJOR,
            sentence=f"'{title}' asks {_shown(new['from'])} (before: {_shown(old['from'])})",
            path=path,
        )
    if old["quorum"] != new["quorum"]:
        level = Level.MINOR if new["quorum"] > old["quorum"] else Level.MAJOR
        yield Change(
            level=level, sentence=f"'{title}' asks for {new['quorum']} to agree (before: {old['quorum']})", path=path
        )
    if old["give_up"] != new["give_up"]:
        yield Change(
            level=Level.MINOR,
            sentence=f"'{title}' waits {new['give_up']} for an answer (before: {old['give_up']})",
            path=path,
        )
    rest = [{key: gate.get(key) for key in ("remind", "escalate")} for gate in (old, new)]
    if rest[0] != rest[1]:
        yield Change(level=Level.PATCH, sentence=f"'{title}' reminds and escalates otherwise", path=path)


def _without(data: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != key}


def _parts(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Name the fields that differ, each with what became of it."""
    words = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            words.append(f"{name} added")
        elif name not in new:
            words.append(f"{name} removed")
        elif old[name] != new[name]:
            words.append(name)
    return words


def _shown(value: Any) -> str:
    """Write a value short enough for a sentence."""
    if value is None or value == []:
        return "nothing"
    if isinstance(value, str):
        return f"[{value}]" if " " in value or "." in value else value
    if isinstance(value, dict) and "do" in value and isinstance(value["do"], str):
        return str(value["do"])
    if isinstance(value, dict):
        text = ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    elif isinstance(value, list):
        text = "; ".join(_shown(item) for item in value)
    else:
        text = str(value).lower()
    return text if len(text) <= 160 else text[:157] + "..."
