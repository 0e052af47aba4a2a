"""Questions that ask the very same are approved together: exactly these, each by its own payload, one by one judged."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from browser.pages import second_version
from browser.site import ask
from topstitch.store import items


@pytest.fixture
async def asked(house: Any) -> list[Any]:
    """Two questions of tier 1 with one payload, beside the story's of tier 3."""
    await second_version(house.store)
    rows = await items.list_approvals(house.store)
    return sorted((r for r in rows if r["instance_title"] in ("Iris Falk", "Jonah Reed")), key=lambda r: r["id"])


def address(rows: list[Any]) -> str:
    return "/approvals/alike?" + urlencode([("approval", row["id"]) for row in rows])


async def approve(house: Any, rows: list[Any], person: str = "dana", **more: str) -> Any:
    pairs = [("approval", f"{r['id']} {more.get('digest', r['payload_digest'])}") for r in rows]
    raw = urlencode([*pairs, ("comment", "the same territory")]).encode()
    return await ask(house.app, "/approvals/alike", method="POST", raw=raw, cookie=f"topstitch_person={person}")


async def test_the_inbox_offers_what_asks_the_very_same_and_looking_decides_nothing(
    house: Any, asked: list[Any]
) -> None:
    inbox = (await house.get("/approvals")).text
    assert "2 questions ask the very same" in inbox
    assert inbox.count("/approvals/alike?") == 1
    page = await house.get(address(asked))
    assert page.status == 200
    assert "Iris Falk" in page.text
    assert "Jonah Reed" in page.text
    assert "Priya Raman" not in page.text, "tier 3 is looked at alone"
    assert [r["status"] for r in await items.list_approvals(house.store)] == ["open"] * 3


async def test_each_is_approved_with_the_reason_and_told_how_it_went(house: Any, asked: list[Any]) -> None:
    answer = await approve(house, asked)
    assert answer.status == 200
    assert "2 of 2 approved" in answer.text
    for row in asked:
        said = (await items.get_approval(house.store, row["id"]))["answers"]
        assert [(a["answer"], a["comment"]) for a in said] == [("approve", "the same territory")]
    again = await approve(house, asked)
    assert again.status == 409, "what is decided asks nothing any more"


async def test_another_payload_than_was_shown_is_not_approved(house: Any, asked: list[Any]) -> None:
    answer = await approve(house, asked, digest="sha256:" + "0" * 64)
    assert "0 of 2 approved" in answer.text
    assert len(re.findall(r'class="t-breach"', answer.text)) == 2
    assert [(await items.get_approval(house.store, r["id"]))["answers"] for r in asked] == [[], []]


async def test_what_is_not_the_very_same_is_never_approved_together(house: Any, asked: list[Any]) -> None:
    every = await items.list_approvals(house.store)
    assert (await house.get(address(every))).status == 409
    assert (await approve(house, every)).status == 409
    assert (await approve(house, asked, person="eve")).status == 409, "and nobody answers who was not asked"
    assert (await house.get(address(asked[:1]))).status == 422
    assert not any(r["answers"] for r in [await items.get_approval(house.store, r["id"]) for r in every])
