"""Knows whose a request is: by a session's cookie, by a token, or because nobody has to sign in here yet.

The doors hold one ``Access``; the sign-in pages call it to begin and end sessions. What somebody may
do is read anew at every request, so that a role taken back, a revoked token or a disabled person
counts at once. It decides no right: ``governance.access`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import HTTPConnection

from topstitch.access.origins import is_local
from topstitch.access.passwords import Passwords
from topstitch.access.throttle import WITHIN, judge
from topstitch.access.words import digest_of, is_token, new_secret
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import NotAllowedError, NotFoundError, RequestError
from topstitch.foundation.ids import new_id
from topstitch.governance.access import ROLES, Grant, Identity
from topstitch.model.record import Actor, ActorKind
from topstitch.store import Store, people, sessions, tokens
from topstitch.store.people import PersonRow, Standing
from topstitch.store.sessions import RoundTrip, Session

if TYPE_CHECKING:
    from topstitch.access.oidc import Oidc

HOST_COOKIE: Final = "__Host-topstitch"
PLAIN_COOKIE: Final = "topstitch_session"
FLOW_TIME: Final = timedelta(minutes=10)
TOUCH_AFTER: Final = timedelta(minutes=1)
"""How stale ``seen_at`` and ``used_at`` may be: a write a minute, not a write a request."""
SIGN_IN_ACTOR: Final = Actor(ActorKind.SYSTEM, "sign-in")
REFUSED: Final = "the name or the password is wrong; try again, or ask an admin"


class WaitError(NotAllowedError):
    """Too many attempts: not before ``seconds`` have passed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, round(seconds + 0.5))
        super().__init__("sign-in-wait", f"there were too many attempts; try again in {self.seconds} seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session that has begun: what the cookie holds, and who it is."""

    secret: str
    person: str
    target: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long sessions last."""

    idle: timedelta = timedelta(minutes=60)
    whole: timedelta = timedelta(hours=12)


@dataclass(slots=True)
class Access:
    """Everything that is known of who may come in."""

    store: Store
    clock: Clock
    providers: Mapping[str, Oidc] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    origin: str | None = None
    """The configured public origin."""
    local: Callable[[HTTPConnection], Identity] | None = None
    """Who somebody at this machine is while nobody has to sign in; only on loopback."""
    passwords: Passwords = field(default_factory=Passwords)
    _anybody: bool = False

    async def identify(self, connection: HTTPConnection) -> Identity | None:
        """Return whose a request is; nobody's, when it shows nothing that holds."""
        authorization = connection.headers.get("authorization")
        if authorization is not None:
            return await self._by_token(authorization)
        secret = connection.cookies.get(self.cookie_name(connection))
        found = await self._by_session(secret) if secret else None
        if found is not None or self.local is None or await self.asks():
            return found
        return self.local(connection) if is_local(connection.scope) else None

    async def asks(self) -> bool:
        """Whether people have to sign in here: there is somebody who can, or a provider."""
        self._anybody = self._anybody or bool(self.providers) or await people.anybody(self.store)
        return self._anybody

    async def find(self, name: str) -> Identity | None:
        """Return somebody as they stand now, as when they act on this machine; nobody when unknown or disabled."""
        standing = await people.standing(self.store, name)
        return self._identity(standing, via="machine") if standing and not standing.person.disabled_at else None

    def cookie_name(self, connection: HTTPConnection) -> str:
        """Return what our cookie is called here: with a prefix that browsers guard, where there is HTTPS."""
        return HOST_COOKIE if self.is_secure(connection) else PLAIN_COOKIE

    def is_secure(self, connection: HTTPConnection) -> bool:
        """Whether people reach us by HTTPS."""
        return (self.origin or str(connection.url)).startswith("https://")

    def origin_of(self, connection: HTTPConnection) -> str:
        """Return our address as browsers see it."""
        return self.origin or f"{connection.url.scheme}://{connection.url.netloc}"

    # --- signing in ---------------------------------------------------------------------------

    async def with_password(self, name: str, password: str, address: str, *, instead_of: str | None) -> SignedIn:
        """Sign a local person in; raise ``WaitError`` or ``NotAllowedError``."""
        now = self.clock.now()
        account = digest_of(name.strip().casefold())
        wait = await sessions.attempt(self.store, account, address, now, WITHIN, judge(now))
        if wait > 0:
            raise WaitError(wait)
        standing = await people.standing(self.store, name.strip())
        person = standing.person if standing else None
        kept = person.password if person and not person.disabled_at and person.kind == "human" else None
        if not await self.passwords.fits(kept, password) or person is None or kept is None:
            raise NotAllowedError("sign-in-refused", REFUSED)
        await sessions.forget_attempts(self.store, account)
        if self.passwords.is_weak(kept):
            await people.rehash(self.store, person.id, self.passwords.hash(password))
        await people.signed_in(self.store, person.id, now)
        return SignedIn(secret=await self._begin(person.id, now, instead_of), person=person.id)

    async def to_provider(self, name: str, redirect_uri: str, target: str, *, anew: bool) -> tuple[str, str]:
        """Begin a sign-in at a provider; return where the browser goes, and the state that its cookie must hold."""
        provider, now = self._provider(name), self.clock.now()
        state, nonce, verifier = new_secret(), new_secret(), new_secret()
        trip = RoundTrip(provider=name, nonce=nonce, verifier=verifier, target=target, ends_at=now + FLOW_TIME)
        await sessions.keep_trip(self.store, digest_of(state), trip, now)
        url = await provider.authorization_url(
            state=state, nonce=nonce, verifier=verifier, redirect_uri=redirect_uri, anew=anew
        )
        return url, state

    async def from_provider(
        self,
        name: str,
        answer: Mapping[str, str],
        cookie_state: str | None,
        redirect_uri: str,
        *,
        instead_of: str | None,
    ) -> SignedIn:
        """Finish a sign-in: the state is this browser's and unused, and what the provider says holds."""
        now, state = self.clock.now(), answer.get("state", "")
        trip = await sessions.take_trip(self.store, digest_of(state), now) if state and state == cookie_state else None
        if trip is None or trip.provider != name:
            raise _refused("it was not begun in this browser, or it took too long")
        if "code" not in answer:
            raise _refused(f"the provider said {answer.get('error', 'nothing')[:80]}")
        provider = self._provider(name)
        claims = await provider.claims(
            code=answer["code"], verifier=trip.verifier, redirect_uri=redirect_uri, nonce=trip.nonce
        )
        person = await self._vouched(provider, claims, now)
        groups = _groups(claims.get(provider.provider.groups_claim))
        shown = str(claims["name"])[:200] if claims.get("name") else None
        await people.signed_in(self.store, person, now, member_of=groups, shown=shown)
        more = {
            "provider": name,
            "provider_session": str(claims["sid"]) if claims.get("sid") else None,
            "provider_subject": str(claims["sub"]),
        }
        secret = await self._begin(person, now, instead_of, **more)
        return SignedIn(secret=secret, person=person, target=trip.target)

    async def sign_out(self, secret: str, back_to: str) -> str | None:
        """End a session; return where to sign out at its provider too, if it has such a place."""
        found = await sessions.find(self.store, digest_of(secret))
        await sessions.end(self.store, digest_of(secret))
        provider = self.providers.get(found[0].provider or "") if found else None
        return await provider.logout_url(back_to) if provider else None

    async def signed_out_at(self, name: str, logout_token: str) -> int:
        """End the sessions that a provider says have ended; return how many."""
        session, subject = await self._provider(name).logout_of(logout_token)
        return await sessions.end_by_provider(self.store, name, session=session, subject=subject)

    # --- whose a request is -------------------------------------------------------------------

    async def _by_session(self, secret: str) -> Identity | None:
        digest, now = digest_of(secret), self.clock.now()
        found = await sessions.find(self.store, digest)
        if found is None:
            return None
        session, standing = found
        over = session.ends_at <= now or now - session.seen_at > self.limits.idle
        if over or standing.person.disabled_at is not None:
            await sessions.end(self.store, digest)
            return None
        if now - session.seen_at > TOUCH_AFTER:
            await sessions.seen(self.store, digest, now)
        return msgspec.structs.replace(
            self._identity(standing, via="session"), credential=session.id, signed_in_at=session.signed_in_at
        )

    async def _by_token(self, authorization: str) -> Identity | None:
        scheme, _, text = authorization.partition(" ")
        text = text.strip()
        if scheme.lower() != "bearer" or not is_token(text):
            return None
        found = await tokens.find(self.store, digest_of(text))
        now = self.clock.now()
        if found is None:
            return None
        token, bound, maker = found
        gone = token.revoked_at is not None or token.ends_at <= now
        if gone or bound.person.disabled_at is not None or maker is None or maker.person.disabled_at is not None:
            return None
        if token.used_at is None or now - token.used_at > TOUCH_AFTER:
            await tokens.used(self.store, token.id, now)
        return msgspec.structs.replace(
            self._identity(bound, via="token"),
            credential=token.id,
            scopes=token.scopes,
            maker=None if token.maker == token.person else self._identity(maker, via="token"),
        )

    def _identity(self, standing: Standing, via: str) -> Identity:
        person = standing.person
        granted = [Grant(row.role, row.place) for row in standing.grants]
        vouching = self.providers.get(person.provider or "")
        if vouching is not None:
            granted += vouching.provider.grants_of(person.member_of)
        return Identity(
            id=person.id,
            name=person.name or "",
            email=person.email or "",
            kind=person.kind,
            roles=tuple(role for role in ROLES if Grant(role) in granted),
            grants=tuple(sorted({grant for grant in granted if grant.where})),
            groups=person.member_of,
            owner=person.owner,
            via=via,
        )

    # --- beginning sessions, making people ----------------------------------------------------

    async def _begin(self, person: str, now: datetime, instead_of: str | None, **more: Any) -> str:
        secret = new_secret()
        session = Session(
            id=new_id("ses", now),
            person=person,
            began_at=now,
            signed_in_at=now,
            seen_at=now,
            ends_at=now + self.limits.whole,
            **more,
        )
        old = digest_of(instead_of) if instead_of else None
        await sessions.begin(self.store, digest_of(secret), session, instead_of=old)
        return secret

    def _provider(self, name: str) -> Oidc:
        if name not in self.providers:
            raise NotFoundError("no-provider", f"there is no sign-in provider {name}; start from the sign-in page")
        return self.providers[name]

    async def _vouched(self, provider: Oidc, claims: Mapping[str, Any], now: datetime) -> str:
        """Return who a provider's subject is here; link or make them when they come for the first time."""
        subject = str(claims["sub"])
        known = await people.vouched(self.store, provider.name, subject)
        if known is None:
            known = await self._first_time(provider, subject, claims, now)
        if known.disabled_at is not None:
            raise _refused("your account here is disabled; ask an admin")
        return known.id

    async def _first_time(self, provider: Oidc, subject: str, claims: Mapping[str, Any], now: datetime) -> PersonRow:
        name = _name_of(provider, claims)
        there = await people.standing(self.store, name)
        if there is not None:
            if there.person.provider is not None or there.person.password is not None or there.person.kind != "human":
                raise _refused(f"somebody else is {name} here; ask an admin")
            await people.link(self.store, name, provider.name, subject, SIGN_IN_ACTOR, now)
            return there.person
        if not provider.provider.make_people:
            raise _refused(f"{name} is not known here; ask an admin to add you")
        row = PersonRow(
            id=name,
            email=_address_of(provider, claims),
            provider=provider.name,
            provider_subject=subject,
            made_at=now,
            made_by=str(SIGN_IN_ACTOR),
        )
        await people.add(self.store, row, SIGN_IN_ACTOR)
        return row


def _name_of(provider: Oidc, claims: Mapping[str, Any]) -> str:
    """Return the id of a new person: a claim that can stand for them."""
    wanted = provider.provider.id_claim
    name = str(claims.get(wanted) or "").strip()
    if wanted == "email" and claims.get("email_verified") is not True and not provider.provider.trust_email:
        raise _refused("the provider does not call your address verified; ask an admin")
    try:
        return check_name(name)
    except RequestError:
        raise _refused(f"the provider sent no usable {wanted}; ask an admin") from None


def _address_of(provider: Oidc, claims: Mapping[str, Any]) -> str | None:
    """Return the address of a new person, by which they are found when they are asked; nothing unless it is theirs."""
    if claims.get("email_verified") is not True and not provider.provider.trust_email:
        return None
    return str(claims.get("email") or "")[:200] or None


def check_name(name: str) -> str:
    """Return the id of a person, as records can hold it; raise ``RequestError`` when it cannot."""
    if not name or len(name) > 200 or ":" in name or any(c.isspace() or not c.isprintable() for c in name):
        raise RequestError(
            "person-name", "a person's id has 1 to 200 characters without spaces and colons; choose another"
        )
    return name


def _groups(claim: object) -> list[str]:
    if isinstance(claim, str):
        return [claim]
    return sorted({str(each) for each in claim})[:500] if isinstance(claim, list) else []


def _refused(why: str) -> NotAllowedError:
    return NotAllowedError("sign-in-refused", f"Signing in did not work: {why}. Start again from the sign-in page.")
