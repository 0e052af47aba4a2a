"""Decides where a credential comes from and that its value is shown nowhere.

A credential is written as a reference, ``env:NAME``, ``file:PATH`` or ``stored:NAME``; the value is
read when a connection needs it, and again when the system refuses it, so that a rotated secret is
picked up without a restart. What is stored lies encrypted in the database; whoever opens an
installation fills ``StoredValues`` with what its connections refer to. Everything that is kept for
people passes the redactor, which knows every value that was ever read here. It never writes a value
into an error or a repr.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus

from topstitch.foundation.errors import OperatorError

HIDDEN: Final = "[hidden]"
STORED: Final = "stored"
KINDS: Final = ("env", "file", STORED)
"""What a reference may begin with."""
KNOWN_LENGTH_MIN: Final = 4
"""Shorter secrets are hidden by the name of their field only: as text they would match everywhere."""

_SECRET_NAME: Final = re.compile(
    r"passw|pwd|secret|token|authoriz|api[-_]?key|cookie|private[-_]?key|assertion|credential|signature|session[-_]?id",
    re.IGNORECASE,
)
_SECRET_PAIR: Final = re.compile(
    r"""(?P<name>["']?[\w.-]*(?:passw|pwd|secret|token|api[-_]?key|assertion|session[-_]?id)[\w.-]*["']?\s*[=:]\s*["']?)"""
    r"""(?P<value>[^\s"'&,;}<]+)""",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"\b(Bearer|Basic|OAuth)\s+[\w.~+/=!-]{6,}", re.IGNORECASE)


class Redactor:
    """Knows the secrets that were read, and takes them out of whatever is kept for people."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def __repr__(self) -> str:
        """Say how many, never which."""
        return f"Redactor({len(self._known)} known)"

    def learn(self, secret: str) -> None:
        """Hide ``secret`` from now on, in each form in which it may travel."""
        if len(secret) < KNOWN_LENGTH_MIN or secret in self._known:
            return
        encoded = base64.b64encode(secret.encode()).decode()
        self._known.update({secret, quote(secret, safe=""), quote_plus(secret), encoded})
        longest_first = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """Return ``text`` without known secrets and without what stands beside a secret-like name."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        return _BEARER.sub(rf"\1 {HIDDEN}", _SECRET_PAIR.sub(rf"\g<name>{HIDDEN}", text))

    def value(self, value: Any) -> Any:
        """Return a JSON-shaped value without secrets, by content and by the names of fields."""
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {k: HIDDEN if v and is_secret_name(str(k)) else self.value(v) for k, v in value.items()}
            case list() | tuple():
                return [self.value(item) for item in value]
            case _:
                return value


class StoredValues:
    """The stored credentials that this process may use, as they were when last looked at."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: Mapping[str, str] = {}

    def __repr__(self) -> str:
        """Say how many, never which or what."""
        return f"StoredValues({len(self._values)})"

    def fill(self, values: Mapping[str, str]) -> None:
        """Put what is stored now in the place of what was."""
        self._values = dict(values)

    def get(self, name: str) -> str:
        """Return a stored credential; raise ``OperatorError`` when there is none of that name."""
        value = self._values.get(name)
        if value is None:
            raise OperatorError(
                "credential_missing",
                f"no credential {name} is stored; store it with topstitch secrets set {name}",
            )
        return value


_NOTHING_KNOWN: Final = Redactor()


def redact(value: Any, redactor: Redactor = _NOTHING_KNOWN) -> Any:
    """Return ``value`` fit to be kept for people."""
    return redactor.value(value)


def is_secret_name(name: str) -> bool:
    """Say whether a field or header of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


class Credentials:
    """The credentials of one connection: references, and the values read from them."""

    def __init__(
        self,
        alias: str,
        references: Mapping[str, str],
        redactor: Redactor,
        folder: Path | None = None,
        stored: StoredValues | None = None,
    ) -> None:
        self.alias = alias
        self._references = dict(references)
        self._redactor = redactor
        self._folder = folder
        self._stored = stored
        self._values: dict[str, str] = {}

    def __repr__(self) -> str:
        """Name the references, never the values."""
        return f"Credentials({self.alias}: {', '.join(f'{k}={v}' for k, v in sorted(self._references.items()))})"

    def get(self, name: str) -> str:
        """Return the value of credential ``name``; raise ``OperatorError`` if there is none."""
        value = self.optional(name)
        if value is None:
            raise OperatorError(
                "credential_missing",
                f"connection {self.alias!r} has no credential {name!r}; "
                f'add {name} = "env:NAME" or "file:PATH" under [connections.{self.alias}.credentials]',
            )
        return value

    def optional(self, name: str) -> str | None:
        """Return the value of credential ``name``, or nothing if the connection names none."""
        if name not in self._references:
            return None
        if name not in self._values:
            self._keep(name, self._read(name))
        return self._values[name]

    def names(self, name: str) -> bool:
        """Say whether the connection names this credential; nothing is read."""
        return name in self._references

    def read_again(self) -> bool:
        """Read every reference anew; say whether any value differs (a secret was rotated)."""
        before = dict(self._values)
        for name in before:
            self._keep(name, self._read(name))
        return self._values != before

    def _read(self, name: str) -> str:
        try:
            return read_reference(self._references[name], self._folder, self._stored)
        except OperatorError as error:
            raise OperatorError(error.code, f"{name} of connection {self.alias!r}: {error.message}") from None

    def _keep(self, name: str, value: str) -> None:
        self._redactor.learn(value)
        self._values[name] = value


def check_reference(text: str) -> None:
    """Raise ``OperatorError`` unless ``text`` has the form of a reference. It is not repeated: it may be a secret."""
    kind, _, rest = text.partition(":")
    if kind not in KINDS or not rest:
        raise OperatorError(
            "credential_not_a_reference",
            'a credential must be a reference, not a value; write "env:NAME", "file:PATH" or "stored:NAME" and keep '
            "the value there",
        )


def read_reference(text: str, folder: Path | None = None, stored: StoredValues | None = None) -> str:
    """Return what ``env:NAME``, ``file:PATH`` or ``stored:NAME`` refers to; relative paths start at ``folder``."""
    check_reference(text)
    kind, _, rest = text.partition(":")
    if kind == STORED:
        return (stored or StoredValues()).get(rest)
    return _read_environment(rest) if kind == "env" else _read_file((folder or Path()) / Path(rest).expanduser())


def _read_environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise OperatorError(
            "credential_missing", f"environment variable {name} is not set; export {name} before starting"
        )
    return value


def _read_file(path: Path) -> str:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise OperatorError(
            "credential_unreadable", f"credential file {path} cannot be read ({reason}); create it or correct its path"
        ) from None
    if not value:
        raise OperatorError("credential_missing", f"credential file {path} is empty; write the value into it")
    return value
