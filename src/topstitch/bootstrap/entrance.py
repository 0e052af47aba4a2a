"""Wires who may come in: the providers of ``sign-in.toml``, the lives of sessions, and who is local.

``serve`` calls it once for an installation, the commands for one act. The person of the settings is
everybody on loopback until there are users or a provider; nobody is, anywhere else.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from topstitch.access.origins import is_loopback_name
from topstitch.access.providers import read_providers
from topstitch.access.service import Access, Limits
from topstitch.office.speakers import Speakers

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import HTTPConnection

    from topstitch.access.oidc import Oidc
    from topstitch.bootstrap.installation import Installation
    from topstitch.foundation.clock import Clock
    from topstitch.governance.access import Identity
    from topstitch.settings import Settings
    from topstitch.store import Store


def entrance(
    settings: Settings, store: Store, clock: Clock, *, local: Callable[[HTTPConnection], Identity] | None = None
) -> Access:
    """Return who knows the people of an installation."""
    providers = _providers(settings, clock)
    limits = Limits(idle=timedelta(minutes=settings.session_minutes), whole=timedelta(hours=settings.session_hours))
    return Access(
        store=store, clock=clock, providers=providers, limits=limits, origin=public_origin(settings), local=local
    )


def _providers(settings: Settings, clock: Clock) -> dict[str, Oidc]:
    """Return the providers by name; what speaks to one is loaded only where there is one."""
    found = read_providers(settings.sign_in)
    if not found:
        return {}
    from topstitch.access.oidc import Oidc  # noqa: PLC0415 -- an HTTP client and three libraries

    return {name: Oidc(name, one, clock, settings.sign_in.parent) for name, one in found.items()}


def speakers_of(house: Installation) -> Speakers:
    """Return who finds the people behind mailboxes and chat accounts."""
    access = entrance(house.settings, house.ports.store, house.clock)
    return Speakers(access, house.settings.code_tier_max)


def public_origin(settings: Settings) -> str | None:
    """Return how browsers name us: the scheme and host of ``console_url``."""
    place = urlsplit(settings.console_url)
    return f"{place.scheme}://{place.netloc}" if place.netloc else None


def is_for_this_machine(settings: Settings) -> bool:
    """Whether nobody but this machine is meant to come in: neither by the address we listen on, nor by a proxy's."""
    origin = public_origin(settings)
    return is_loopback_name(settings.host) and (origin is None or is_loopback_name(urlsplit(origin).netloc))
