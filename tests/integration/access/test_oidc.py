"""Sign-in at a real OIDC provider over real sockets: code with PKCE, state, nonce, groups to roles, and out again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
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
from integration.access.front import Front, front
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
    await site.add("mia", "admin")
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


# --- A provider that lies, and one that asks for the verifier ---------------------------------------


@pytest_asyncio.fixture
async def before(acme: Provider) -> AsyncIterator[Front]:
    async with front(acme.issuer) as one:
        yield one


@asynccontextmanager
async def behind(before: Front, folder: Path, **more: Any) -> AsyncIterator[Site]:
    """Serve a console whose provider stands behind a front that checks PKCE."""
    (folder / "secret").write_text("s3cret-of-acme")
    known = {
        "client_id": "topstitch",
        "client_secret": "file:secret",
        "roles": {"ops": ("operator",), "auditors": ("auditor",)},
        **more,
    }
    clock = SystemClock()
    async with opened(
        clock, providers={"acme": Oidc("acme", Entry(issuer=before.issuer, **known), clock, folder)}
    ) as s:
        yield s


async def test_the_verifier_that_reaches_the_provider_is_the_one_that_was_challenged(before: Front, tmp_path: Path):
    async with behind(before, tmp_path) as site, site.browser() as browser:
        assert (await come_back(site, browser, await go(browser, "u-1"))).status == 303
        ((verifier, fits),) = before.traded
        assert fits
        assert len(verifier) >= 43  # RFC 7636, 4.1
    async with behind(before, tmp_path) as site, site.browser() as browser:
        before.tamper = lambda verifier: verifier[:-1] + ("a" if verifier[-1] != "a" else "b")
        answer = await come_back(site, browser, await go(browser, "u-1"))
        assert (answer.status, "invalid_grant" in answer.text) == (403, True)
        assert [fits for _, fits in before.traded] == [True, False]
        assert (await browser.get("/instances")).status == 303
        assert await people.listing(site.store) == []


def _later(claims: dict[str, Any], seconds: int) -> dict[str, Any]:
    return {**claims, **{name: claims[name] + seconds for name in ("iat", "exp", "auth_time") if name in claims}}


LIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another nonce": lambda claims: {**claims, "nonce": "of-another-sign-in"},
    "no nonce": lambda claims: {name: value for name, value in claims.items() if name != "nonce"},
    "expired": lambda claims: _later(claims, -86_400),
    "no end": lambda claims: {name: value for name, value in claims.items() if name != "exp"},
    "from the future": lambda claims: _later(claims, 86_400),
    "another issuer": lambda claims: {**claims, "iss": "https://evil.example"},
    "another audience": lambda claims: {**claims, "aud": "somebody-else"},
    "ours among others, for another": lambda claims: {**claims, "aud": ["topstitch", "other"], "azp": "other"},
    "nobody": lambda claims: {name: value for name, value in claims.items() if name != "sub"},
}


@pytest.mark.parametrize("lie", list(LIES))
async def test_an_id_token_that_does_not_hold_signs_nobody_in(before: Front, tmp_path: Path, lie: str) -> None:
    before.lie = LIES[lie]
    async with behind(before, tmp_path) as site, site.browser() as browser:
        answer = await come_back(site, browser, await go(browser, "u-1"))
        assert (answer.status, "does not hold" in answer.text) == (403, True)
        assert (await browser.get("/instances")).status == 303
        assert await people.listing(site.store) == []


async def test_an_id_token_without_a_signature_or_of_a_foreign_key_signs_nobody_in(
    before: Front, tmp_path: Path
) -> None:
    foreign = Front.fresh("k1")
    signers = (before.unsigned, lambda claims: jwt.encode({"alg": "RS256", "kid": "k1"}, claims, foreign))
    for before.sign in signers:
        async with behind(before, tmp_path) as site, site.browser() as browser:
            answer = await come_back(site, browser, await go(browser, "u-1"))
            assert (answer.status, "does not hold" in answer.text) == (403, True)
            assert await people.listing(site.store) == []


async def test_a_provider_may_change_its_keys(before: Front, tmp_path: Path) -> None:
    async with behind(before, tmp_path) as site, site.browser() as browser:
        assert (await come_back(site, browser, await go(browser, "u-1"))).status == 303
        before.rotate("k2")
        assert (await come_back(site, browser, await go(browser, "u-1"))).status == 303


async def test_a_state_of_another_sign_in_of_the_same_browser_signs_nobody_in(before: Front, tmp_path: Path) -> None:
    async with behind(before, tmp_path) as site, site.browser() as browser:
        first = await go(browser, "u-1")
        await go(browser, "u-1")  # begun anew: the cookie now holds another state
        assert (await come_back(site, browser, first)).status == 403


async def test_a_role_that_a_group_gave_goes_with_the_group_at_the_next_sign_in(before: Front, tmp_path: Path) -> None:
    async with behind(before, tmp_path) as site, site.browser() as browser:
        for groups, roles in ((["ops", "auditors"], {"operator", "auditor"}), (["auditors"], {"auditor"}), ([], set())):
            before.lie = lambda claims, groups=groups: {**claims, "groups": groups}
            assert (await come_back(site, browser, await go(browser, "u-1"))).status == 303
            found = await site.access.find("ada@acme.example")
            assert found is not None
            assert set(found.roles) == roles
        assert (await browser.get("/instances")).status == 403


async def test_somebody_who_is_switched_off_is_out_at_once_and_does_not_come_back(before: Front, tmp_path: Path):
    async with behind(before, tmp_path) as site, site.browser() as browser:
        await come_back(site, browser, await go(browser, "u-1"))
        assert (await browser.get("/instances")).status == 200
        await people.disable(site.store, "ada@acme.example", ADMIN, SystemClock().now())
        assert (await browser.get("/instances")).status == 303
        answer = await come_back(site, browser, await go(browser, "u-1"))
        assert (answer.status, "disabled" in answer.text) == (403, True)
        await people.enable(site.store, "ada@acme.example", ADMIN, SystemClock().now())
        assert (await browser.get("/instances")).status == 303  # the old session stays ended


async def test_an_address_that_is_not_verified_is_not_kept_and_so_decides_for_nobody(before: Front, tmp_path: Path):
    before.lie = lambda claims: {**claims, "email": "boss@acme.example", "email_verified": False}
    async with behind(before, tmp_path, id_claim="sub") as site, site.browser() as browser:
        assert (await come_back(site, browser, await go(browser, "u-2"))).status == 303
        assert (await people.get(site.store, "u-2")).email is None
