"""API tokens: whose they are, what they narrow, when they end; nothing of their text is kept."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from integration.access.conftest import ADMIN, Site
from topstitch.access.making import make_token, revoke_token
from topstitch.foundation.errors import NotAllowedError, NotFoundError, RequestError
from topstitch.governance.access import Identity, may
from topstitch.store import people, tokens


async def known(site: Site, name: str) -> Identity:
    found = await site.access.find(name)
    assert found is not None
    return found


async def by(site: Site, text: str) -> Identity | None:
    """Return whose a request with a token is."""
    headers = [(b"authorization", f"Bearer {text}".encode()), (b"host", b"127.0.0.1")]
    scope: dict[str, Any] = {"type": "http", "scheme": "http", "path": "/", "headers": headers, "query_string": b""}
    return await site.access.identify(HTTPConnection(scope))


async def made(site: Site, maker: str, *scopes: str, bound_to: str | None = None, days: int = 30) -> str:
    text, _ = await make_token(
        site.store,
        maker=await known(site, maker),
        bound_to=await known(site, bound_to or maker),
        name="ci",
        scopes=scopes,
        days=days,
        now=site.clock.now(),
    )
    return text


async def test_a_token_is_its_owner_within_its_scopes(site: Site) -> None:
    await site.add("otto", "operator")
    me = await by(site, await made(site, "otto", "instances.read"))
    assert me is not None
    assert (me.id, me.via) == ("otto", "token")
    assert may(me, "instances.read")
    assert not may(me, "instances.operate")


async def test_a_token_is_found_by_its_digest_and_its_text_is_kept_nowhere(site: Site) -> None:
    await site.add("otto", "operator")
    text = await made(site, "otto", "*.read")
    rows = await site.store.work(lambda backend: backend.execute("SELECT * FROM tokens"))
    journal = await site.store.work(lambda backend: backend.execute("SELECT body FROM journal"))
    assert text not in repr(rows) + repr(journal)
    assert text[14:40] not in repr(rows) + repr(journal)


async def test_what_its_maker_may_not_is_refused_when_it_is_made_and_whenever_it_is_used(site: Site) -> None:
    await site.add("mia", "admin")
    await site.add("ada", "admin")
    await site.add("robot", "operator", "publisher", kind="service", owner="ada")
    with pytest.raises(NotAllowedError) as refused:
        await made(site, "ada", "definitions.publish", bound_to="robot")
    assert refused.value.code == "token-wider"
    text = await made(site, "ada", "instances.operate", bound_to="robot")
    me = await by(site, text)
    assert may(me, "instances.operate")
    assert me is not None
    assert me.actor == "system:robot"
    await people.revoke(site.store, "ada", "admin", "", ADMIN, site.clock.now())
    assert not may(await by(site, text), "instances.operate")


async def test_a_token_ends_by_time_by_revoking_and_with_its_people(site: Site) -> None:
    await site.add("mia", "admin")
    await site.add("ada", "admin")
    await site.add("robot", "operator", kind="service")
    timed, revoked, orphan = [await made(site, "ada", "*.read", bound_to="robot", days=days) for days in (1, 9, 9)]
    me = await by(site, revoked)
    assert me is not None
    await revoke_token(site.store, str(me.credential), await known(site, "ada"), site.clock.now())
    assert await by(site, revoked) is None
    site.clock.advance(24 * 3600)
    assert await by(site, timed) is None
    assert await by(site, orphan) is not None
    await people.disable(site.store, "ada", ADMIN, site.clock.now())
    assert await by(site, orphan) is None


async def test_disabling_somebody_revokes_their_tokens_for_good(site: Site) -> None:
    await site.add("otto", "operator")
    text = await made(site, "otto", "*.read")
    assert (await people.disable(site.store, "otto", ADMIN, site.clock.now()))[1] == 1
    await people.enable(site.store, "otto", ADMIN, site.clock.now())
    assert await by(site, text) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"scopes": ()}, "token-scopes"),
        ({"scopes": ("moon.land",)}, "token-scopes"),
        ({"days": 0}, "token-days"),
        ({"days": 367}, "token-days"),
        ({"name": " "}, "token-name"),
    ],
)
async def test_a_token_needs_a_name_scopes_and_an_end(site: Site, change: dict[str, Any], code: str) -> None:
    await site.add("otto", "operator")
    me = await known(site, "otto")
    given: dict[str, Any] = {"maker": me, "bound_to": me, "name": "ci", "scopes": ("*.read",), "days": 1, **change}
    with pytest.raises(RequestError) as refused:
        await make_token(site.store, now=site.clock.now(), **given)
    assert refused.value.code == code


async def test_nobody_makes_or_revokes_a_token_of_another_person(site: Site) -> None:
    await site.add("ada", "admin")
    await site.add("otto", "operator")
    with pytest.raises(NotAllowedError, match="nobody but otto"):
        await made(site, "ada", "*.read", bound_to="otto")
    await made(site, "ada", "*.read")
    (token,) = await tokens.listing(site.store)
    with pytest.raises(NotFoundError):
        await revoke_token(site.store, token.id, await known(site, "otto"), site.clock.now())


async def test_somebody_makes_a_token_at_their_account_and_sees_it_once(site: Site) -> None:
    await site.add("otto", "operator")
    async with site.signed_in("otto") as browser:
        answer = await browser.post("/account/tokens", {"name": "ci", "scopes": "*.read", "days": "30"})
        text = answer.text.partition('<pre tabindex="0">')[2].partition("</pre>")[0]
        assert (await by(site, text)) is not None
        page = (await browser.get("/account")).text
        assert text not in page
        (token,) = await tokens.listing(site.store)
        await browser.post(f"/account/tokens/{token.id}/revoke")
        assert await by(site, text) is None
        bad = await browser.post("/account/tokens", {"name": "ci", "scopes": "moon.land", "days": "30"})
        assert bad.status == 422


async def test_a_token_at_the_console_is_its_owner_and_a_wrong_one_is_nobody(site: Site) -> None:
    await site.add("otto", "operator")
    text = await made(site, "otto", "*.read")
    async with site.browser() as browser:
        assert (await browser.get("/instances.json", Authorization=f"Bearer {text}")).status == 200
        assert (await browser.get("/instances.json", Authorization=f"Bearer {text}x")).status == 401
    async with site.signed_in("otto") as browser:
        assert (await browser.get("/instances.json", Authorization="Bearer nothing")).status == 401
