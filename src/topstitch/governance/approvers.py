"""Decides what an author means by *who*: ``manager_of(subject)``, ``group:x``, ``role:x``, ``owner``, a person.

The policy reader refuses what is none of these; whoever looks people up goes by ``kind``.
Nobody is looked up here: who is found is settled, and recorded, when people are asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec


class WhoKind(StrEnum):
    """What sort of approver is named."""

    MANAGER_OF = "manager_of"
    """Whom the directory names as the manager; ``name`` is whose: subject, requester or a person."""
    GROUP = "group"
    """Everybody in a group of the directory."""
    ROLE = "role"
    """Everybody who has a role here."""
    OWNER = "owner"
    """The team that answers for the process."""
    REQUESTER = "requester"
    """Who asked for it; may be told, never asked."""
    SUBJECT = "subject"
    """Whom it is about; may be told, never asked."""
    PERSON = "person"
    """One person, by id or e-mail."""


class Who(msgspec.Struct, frozen=True):
    """An approver as an author names one."""

    kind: WhoKind
    name: str = ""

    def __str__(self) -> str:
        """Write it as authors do."""
        match self.kind:
            case WhoKind.MANAGER_OF:
                return f"manager_of({self.name})"
            case WhoKind.GROUP | WhoKind.ROLE:
                return f"{self.kind}:{self.name}"
            case WhoKind.PERSON:
                return self.name
            case _:
                return str(self.kind)

    @property
    def may_decide(self) -> bool:
        """Whether asking makes sense: requester and subject are excluded from every decision."""
        return self.kind not in (WhoKind.REQUESTER, WhoKind.SUBJECT)


NAMING: Final = "write manager_of(subject), group:name, role:name, owner, or a person's id or e-mail"


def parse_who(text: str) -> Who:
    """Read one approver; raise ``ValueError`` with the remedy when it is none."""
    text = text.strip()
    if text in (WhoKind.OWNER, WhoKind.REQUESTER, WhoKind.SUBJECT):
        return Who(WhoKind(text))
    if found := re.fullmatch(r"manager_of\(\s*([^\s()]+)\s*\)", text):
        return Who(WhoKind.MANAGER_OF, found[1])
    if found := re.fullmatch(r"(group|role):([A-Za-z0-9][\w.@/-]*)", text):
        return Who(WhoKind(found[1]), found[2])
    if re.fullmatch(r"[A-Za-z0-9][\w.+'-]*(@[\w.-]+)?", text):
        return Who(WhoKind.PERSON, text)
    raise ValueError(f"'{text}' names nobody; {NAMING}")


def asked(value: Any) -> tuple[str, ...]:
    """Return the approvers of a field that holds one or a list, as authors write them, in order, each once."""
    given: Sequence[Any] = value if isinstance(value, list) else [value]
    if not given or not all(isinstance(one, str) for one in given):
        raise ValueError(f"somebody must be named; {NAMING}")
    return tuple(dict.fromkeys(str(parse_who(one)) for one in given))
