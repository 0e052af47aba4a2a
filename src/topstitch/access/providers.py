"""Reads ``sign-in.toml``: which OIDC providers vouch for people here, and which of their groups give which roles.

``bootstrap`` reads it once. A client secret is a reference (``env:NAME``, ``file:PATH``), as every
credential. It opens no connection.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from topstitch.connectors.credentials import check_reference, read_reference
from topstitch.foundation.errors import OperatorError
from topstitch.governance.access import Grant, parse_grant

SCOPES: Final = ("openid", "profile", "email")
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class Provider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One OIDC provider."""

    issuer: str
    client_id: str
    client_secret: str | None = None
    """A reference; without it we are a public client, which PKCE protects."""
    title: str = ""
    """What the button says."""
    scopes: tuple[str, ...] = SCOPES
    groups_claim: str = "groups"
    id_claim: str = "email"
    """Which claim becomes a new person's id here."""
    trust_email: bool = False
    """Whether an address counts that the provider does not call verified."""
    make_people: bool = True
    """Whether somebody who is not known here is let in; without a role they see only their own account."""
    roles: Mapping[str, tuple[str, ...]] = {}
    """Group to roles, as the commands write them: ``operator``, ``operator:people-*``."""

    def grants_of(self, groups: tuple[str, ...]) -> tuple[Grant, ...]:
        """Return what its groups give."""
        return tuple(parse_grant(text) for group in groups for text in self.roles.get(group, ()))

    def secret(self, folder: Path) -> str | None:
        """Read the client secret."""
        return read_reference(self.client_secret, folder) if self.client_secret else None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    providers: dict[str, Provider] = {}


def read_providers(path: Path) -> dict[str, Provider]:
    """Return the providers by name; none when there is no file."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        found = msgspec.convert(document, _File).providers
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise OperatorError("sign-in-invalid", f"{path} cannot be used: {error}; correct it there") from None
    for name, provider in found.items():
        _check(path, name, provider)
    return found


def _check(path: Path, name: str, provider: Provider) -> None:
    def refuse(what: str, problem: str) -> OperatorError:
        return OperatorError("sign-in-invalid", f"{path}: providers.{name}.{what} {problem}; correct it there")

    if not name.replace("-", "").replace("_", "").isalnum():
        raise refuse("", "has a name that cannot stand in an address: use letters, digits, - and _")
    place = urlsplit(provider.issuer)
    if place.scheme != "https" and not (place.scheme == "http" and place.hostname in _LOOPBACK):
        raise refuse("issuer", "must begin with https://")
    if "openid" not in provider.scopes:
        raise refuse("scopes", "must hold openid")
    if provider.client_secret:
        check_reference(provider.client_secret)
    for group, roles in provider.roles.items():
        for text in roles:
            _check_role(refuse, group, text)


def _check_role(refuse: Any, group: str, text: str) -> None:
    try:
        parse_grant(text)
    except ValueError as error:
        raise refuse(f"roles.{group}", f"cannot be {text!r}: write {error}") from None
