"""Whether a request comes from our own pages, and whether it names this machine."""

from __future__ import annotations

from typing import Any

import pytest

from topstitch.access.origins import is_local, is_ours


def scope(**headers: str) -> dict[str, Any]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "scheme": "http", "method": "POST", "headers": raw}


@pytest.mark.parametrize(
    ("site", "ours"), [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False)]
)
def test_fetch_metadata_decides_whatever_else_is_said(site: str, ours: bool) -> None:
    assert is_ours(scope(sec_fetch_site=site, origin="https://evil.example", host="a"), "https://a") is ours


def test_without_it_the_configured_origin_counts_and_never_the_host() -> None:
    assert is_ours(scope(origin="https://a.example", host="b.example"), "https://a.example")
    assert not is_ours(scope(origin="http://b.example", host="b.example"), "https://a.example")
    assert not is_ours(scope(host="a.example"), "https://a.example")


def test_without_a_configured_origin_the_address_itself_counts() -> None:
    assert is_ours(scope(origin="http://127.0.0.1:1", host="127.0.0.1:1"), None)
    assert not is_ours(scope(origin="http://127.0.0.1:2", host="127.0.0.1:1"), None)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1:8700", True),
        ("localhost:8700", True),
        ("localhost", True),
        ("[::1]:8700", True),
        ("::1", True),
        ("::2", False),
        ("127.9.9.9", True),
        ("rebound.example:8700", False),
        ("10.0.0.1:8700", False),
        ("", False),
    ],
)
def test_a_name_that_was_rebound_to_us_is_not_this_machine(host: str, local: bool) -> None:
    assert is_local(scope(host=host)) is local


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "x_real_ip", "via"])
def test_what_came_by_a_proxy_is_not_from_this_machine(header: str) -> None:
    assert not is_local(scope(host="127.0.0.1:8700", **{header: "10.0.0.1"}))
