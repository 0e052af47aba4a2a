"""Which posts are taken, and what every answer carries."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from browser.site import ask
from topstitch.console.security import Shield
from topstitch.console.site import local_path


async def there(_request: Request) -> Response:
    return PlainTextResponse("done")


def shielded(origin: str | None = None) -> Shield:
    return Shield(Starlette(routes=[Route("/", there, methods=["GET", "POST"])]), origin)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"origin": "http://console.test"}, 200),
        ({"origin": "http://evil.test"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site", "origin": "http://console.test"}, 403),
    ],
)
async def test_a_post_is_taken_only_from_our_own_pages(headers: dict[str, str], status: int) -> None:
    assert (await ask(shielded(), "/", method="POST", **headers)).status == status


async def test_a_post_that_says_nothing_of_where_it_comes_from_is_refused() -> None:
    answer = await ask(shielded("https://ops.acme.example"), "/", method="POST", origin="")
    assert answer.status == 403
    assert "nothing was changed" in answer.text


async def test_the_configured_origin_counts_and_not_the_host_header() -> None:
    shield = shielded("https://ops.acme.example")
    assert (await ask(shield, "/", method="POST", origin="https://ops.acme.example")).status == 200
    assert (await ask(shield, "/", method="POST", origin="http://evil.test", host="evil.test")).status == 403


async def test_every_answer_carries_the_strict_policy_with_a_fresh_nonce() -> None:
    shield = shielded()
    policies = [(await ask(shield, "/")).headers["content-security-policy"] for _ in range(2)]
    nonces = [re.search(r"'nonce-([^']+)'", policy) for policy in policies]
    assert nonces[0]
    assert nonces[1]
    assert nonces[0][1] != nonces[1][1]
    for wanted in (
        "default-src 'none'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types htmx",
        "base-uri 'none'",
    ):
        assert wanted in policies[0]
    assert "unsafe" not in policies[0]
    refused = await ask(shield, "/", method="POST", sec_fetch_site="cross-site")
    assert "content-security-policy" in refused.headers


@pytest.mark.parametrize(
    "text", ["//evil.test", "https://evil.test", "/\\evil.test", "javascript:alert(1)", "", None, "/a\nb"]
)
def test_a_way_back_never_leads_elsewhere(text: str | None) -> None:
    assert local_path(text, "/approvals") == "/approvals"
