"""Sign-in at a real OIDC provider over real sockets: code with PKCE, state, nonce, groups to roles, and out again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import pytest_asyncio
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import RSAKey

from integration.access.conftest import ADMIN, Browser, Site, opened
from integration.access.provider import Provider, provider
from topstitch.access.oidc import LOGOUT_EVENT, Oidc
from topstitch.access.providers import Provider as Entry
from topstitch.foundation.clock import SystemClock
from topstitch.store import people, sessions

PEOPLE: dict[str, dict[str, Any]] = {
    "u-1": {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace", "groups": ["ops", "all"]},
    "u-2": {"email": "dana@acme.example", "email_verified": False, "groups": ["all"]},
    "u-3": {"email": "root@acme.example", "email_verified": True, "groups": []},
}


@pytest.fixture(scope="module")
def acme() -> Iterator[Provider]:
    with provider(PEOPLE) as one:
        yield one


@pytest_asyncio.fixture
async def site(acme: Provider, tmp_path: Path) -> AsyncIterator[Site]:
    entry = Entry(
        issuer=acme.issuer,
        client_id="topstitch",
        client_secret="file:secret",
        title="Acme",
        roles={"ops": ("operator",)},
    )
    (tmp_path / "secret").write_text("s3cret-of-acme")
    clock = SystemClock()
    async with opened(clock, providers={"acme": Oidc("acme", entry, clock, tmp_path)}) as one:
        yield one


async def go(browser: Browser, subject: str, path: str = "/sign-in/with/acme?next=/instances") -> str:
    """Go to the provider, sign in there, and return where it sends the browser back to."""
    there = (await browser.get(path)).headers["Location"]
    async with (
        aiohttp.ClientSession() as http,
        http.post(there, data={"sub": subject}, allow_redirects=False) as answer,
    ):
        return str(answer.headers["Location"])


async def come_back(site: Site, browser: Browser, location: str) -> Any:
    assert location.startswith(site.origin + "/sign-in/back/acme?")
    return await browser.get(location.removeprefix(site.origin))


async def test_somebody_comes_for_the_first_time_with_the_roles_of_their_groups(site: Site) -> None:
    async with site.browser() as browser:
        answer = await come_back(site, browser, await go(browser, "u-1"))
        assert (answer.status, answer.headers["Location"]) == (303, "/instances")
        assert (await browser.get("/instances")).status == 200
        account = (await browser.get("/account")).text
        assert "Ada Lovelace" in account
        assert "operator" in account
        name = site.hires["Priya Raman"]
        assert (await browser.post(f"/instances/{name}/pause", {"reason": "because"})).status == 303
    row = await people.get(site.store, "ada@acme.example")
    assert (row.provider, row.provider_subject, row.member_of) == ("acme", "u-1", ("all", "ops"))


async def test_the_request_carries_pkce_state_and_nonce_and_the_verifier_stays_here(site: Site) -> None:
    async with site.browser() as browser:
        one = (await browser.get("/sign-in/with/acme")).headers["Location"]
        two = (await browser.get("/sign-in/with/acme")).headers["Location"]
    asked, again = (parse_qs(urlsplit(url).query) for url in (one, two))
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert all(asked[name] != again[name] for name in ("state", "nonce", "code_challenge"))
    from topstitch.access.words import digest_of

    trip = await sessions.take_trip(site.store, digest_of(asked["state"][0]), SystemClock().now())
    assert trip is not None
    assert create_s256_code_challenge(trip.verifier) == asked["code_challenge"][0]
    assert trip.nonce == asked["nonce"][0]


async def test_an_answer_counts_once_and_only_in_the_browser_that_asked(site: Site) -> None:
    async with site.browser() as browser, site.browser() as thief:
        back = await go(browser, "u-1")
        assert (await come_back(site, thief, back)).status == 403
    async with site.browser() as browser:
        back = await go(browser, "u-1")
        assert (await come_back(site, browser, back)).status == 303
        assert (await come_back(site, browser, back)).status == 403


async def test_a_denied_or_foreign_answer_signs_nobody_in(site: Site) -> None:
    async with site.browser() as browser:
        await browser.get("/sign-in/with/acme")
        answer = await browser.get("/sign-in/back/acme?error=access_denied&state=forged")
        assert answer.status == 403
        assert (await browser.get("/sign-in/back/acme")).status == 403
        assert (await browser.get("/sign-in/back/other?state=x&code=y")).status == 403
        assert browser.cookie() is None


async def test_an_address_that_is_not_verified_names_nobody(site: Site) -> None:
    async with site.browser() as browser:
        answer = await come_back(site, browser, await go(browser, "u-2"))
        assert answer.status == 403
        assert "verified" in answer.text


async def test_a_provider_never_takes_over_somebody_with_a_password(site: Site) -> None:
    await site.add("root@acme.example", "admin")
    async with site.browser() as browser:
        answer = await come_back(site, browser, await go(browser, "u-3"))
        assert answer.status == 403
        assert "somebody else is root@acme.example here" in answer.text


async def test_somebody_whom_an_admin_made_for_the_provider_is_linked_the_first_time(site: Site) -> None:
    await site.add("root@acme.example", "admin", provider=None)
    async with site.browser() as browser:
        assert (await come_back(site, browser, await go(browser, "u-3"))).status == 303
        assert "admin" in (await browser.get("/account")).text
        await people.disable(site.store, "root@acme.example", ADMIN, SystemClock().now())
        assert (await browser.get("/account")).status == 303
        assert (await come_back(site, browser, await go(browser, "u-3"))).status == 403


async def test_signing_out_leads_to_the_providers_own_sign_out(site: Site, acme: Provider) -> None:
    async with site.browser() as browser:
        await come_back(site, browser, await go(browser, "u-1"))
        text = (await browser.post("/sign-out")).text
        assert f"{acme.issuer}/oauth2/end_session?client_id=topstitch" in text
        assert (await browser.get("/instances")).status == 303


async def test_a_fresh_sign_in_asks_the_provider_for_one(site: Site) -> None:
    async with site.browser() as browser:
        asked = parse_qs(urlsplit((await browser.get("/sign-in/with/acme?again=1")).headers["Location"]).query)
        assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])


async def test_a_provider_that_is_away_or_calls_itself_otherwise_is_said(tmp_path: Path, acme: Provider) -> None:
    clock = SystemClock()
    away = Oidc("away", Entry(issuer="http://127.0.0.1:9", client_id="x"), clock, tmp_path)
    other = Oidc("other", Entry(issuer=acme.issuer.replace("127.0.0.1", "localhost"), client_id="x"), clock, tmp_path)
    slash = Oidc("slash", Entry(issuer=acme.issuer + "/", client_id="x"), clock, tmp_path)
    async with opened(clock, providers={"away": away, "other": other, "slash": slash}) as one, one.browser() as browser:
        assert (await browser.get("/sign-in/with/away")).status == 500
        assert "does not answer" in (await browser.get("/sign-in/with/away")).text
        assert "calls itself" in (await browser.get("/sign-in/with/slash")).text
        assert (await browser.get("/sign-in/with/other")).status == 303


class Signer:
    """Signs logout tokens as a provider would; its key stands in for the provider's."""

    def __init__(self, oidc: Oidc) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "k1"})
        self.issuer = oidc.provider.issuer

    def token(self, **more: Any) -> str:
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": "topstitch",
            "iat": int(SystemClock().now().timestamp()),
            "jti": "j1",
            "sub": "u-1",
            "events": {LOGOUT_EVENT: {}},
            **more,
        }
        return jwt.encode({"alg": "RS256", "kid": "k1"}, {k: v for k, v in claims.items() if v is not None}, self.key)


@pytest.mark.parametrize(
    ("more", "ended"),
    [
        ({}, True),
        ({"aud": "somebody-else"}, False),
        ({"iss": "https://evil.example"}, False),
        ({"events": {}}, False),
        ({"nonce": "n"}, False),
        ({"sub": None}, False),
        ({"sub": "u-9"}, False),
    ],
)
async def test_a_provider_ends_sessions_by_its_own_server(
    site: Site, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], ended: bool
) -> None:
    from joserfc.jwk import KeySet

    oidc = site.access.providers["acme"]
    async with site.browser() as browser, site.browser() as server:
        await come_back(site, browser, await go(browser, "u-1"))
        signer = Signer(oidc)

        async def keys() -> KeySet:
            return KeySet([signer.key])

        monkeypatch.setattr(oidc, "_key_set", keys)
        answer = await server.post("/sign-in/ended/acme", {"logout_token": signer.token(**more)}, Accept="*/*")
        assert (answer.status == 200) is (ended or more == {"sub": "u-9"})
        assert ((await browser.get("/instances")).status == 303) is ended


async def test_a_logout_token_of_another_key_ends_nothing(site: Site) -> None:
    async with site.browser() as browser, site.browser() as server:
        await come_back(site, browser, await go(browser, "u-1"))
        forged = Signer(site.access.providers["acme"]).token()
        assert (await server.post("/sign-in/ended/acme", {"logout_token": forged}, Accept="*/*")).status == 400
        assert (await browser.get("/instances")).status == 200
