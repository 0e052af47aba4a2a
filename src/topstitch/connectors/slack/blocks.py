"""Draws what Slack shows of a decision: the question with its buttons, how it ended, and the form for a reason.

Pure shapes of Block Kit, within its limits. What strangers wrote is escaped, so that it can neither
mention nor link anybody. A button's value names the approval and the digest of what is shown, so that a press
is an answer to exactly that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from topstitch.connectors.slack.models import Asking

APPROVE: Final = "approve"
REFUSE: Final = "refuse"
REASON: Final = "reason"
SECTION_LENGTH_MAX: Final = 2_800
SECTIONS_MAX: Final = 12
LINE_LENGTH_MAX: Final = 600
HEADER_LENGTH_MAX: Final = 150
VIEW_TITLE_LENGTH_MAX: Final = 24


def asking(asked: Asking) -> list[dict[str, Any]]:
    """Return the question: all the facts, what each answer leads to, two buttons."""
    facts = [f"*{escaped(one.label)}:* {escaped(one.value)}" for one in asked.facts]
    why = [f"Asked because of {escaped(one)}" for one in asked.why]
    leads = [
        f"*If you approve:* {escaped(asked.if_approved)}",
        f"*If you refuse:* {escaped(asked.if_refused)}",
        f"*If nobody answers* by {escaped(asked.ends_at)}: {escaped(asked.if_unanswered)}",
    ]
    value = f"{asked.approval} {asked.payload_digest}"
    buttons = [_button(APPROVE, "Approve", "primary", value), _button(REFUSE, "Refuse", "danger", value)]
    link = [_section(f"<{asked.link}|Look at it in the console>")] if asked.link else []
    return [
        {"type": "header", "text": _plain(asked.title[:HEADER_LENGTH_MAX])},
        _section(escaped(asked.question)[:SECTION_LENGTH_MAX]),
        *_sections(facts),
        *_sections(why),
        *_sections(leads),
        *link,
        {"type": "actions", "block_id": "decide", "elements": buttons},
    ]


def settled(title: str, said: str) -> list[dict[str, Any]]:
    """Return the message once it is decided: what it was, who decided and when; no buttons."""
    return [_section(f"*{escaped(title)[:LINE_LENGTH_MAX]}*"), _section(escaped(said)[:SECTION_LENGTH_MAX])]


def form(said: str, keep: str, *, needed: bool) -> dict[str, Any]:
    """Return the view that asks for a reason; ``keep`` comes back with it."""
    label = "Why do you refuse?" if said == REFUSE else "Your comment"
    box = {"type": "plain_text_input", "action_id": REASON, "multiline": True, "max_length": 3000}
    word = "Refuse" if said == REFUSE else "Approve"
    return {
        "type": "modal",
        "callback_id": f"decide_{said}",
        "private_metadata": keep,
        "title": _plain(f"{word} this write"[:VIEW_TITLE_LENGTH_MAX]),
        "submit": _plain(word),
        "close": _plain("Back"),
        "blocks": [
            {"type": "input", "block_id": REASON, "optional": not needed, "label": _plain(label), "element": box}
        ],
    }


def reason_in(view: Mapping[str, Any]) -> str:
    """Return what was written into the form."""
    box = ((view.get("state") or {}).get("values") or {}).get(REASON) or {}
    return str((box.get(REASON) or {}).get("value") or "").strip()


def escaped(text: str) -> str:
    """Return text that Slack shows as it is: no mention, no link, no channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _sections(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield sections of lines, each within the limit; what does not fit is said to be missing."""
    held, count = "", 0
    for line in lines:
        short = line if len(line) <= LINE_LENGTH_MAX else f"{line[:LINE_LENGTH_MAX]} ..."
        if held and len(held) + len(short) + 1 > SECTION_LENGTH_MAX:
            yield _section(held)
            held, count = "", count + 1
        if count >= SECTIONS_MAX:
            yield _section("There is more; look at it in the console.")
            return
        held = f"{held}\n{short}" if held else short
    if held:
        yield _section(held)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _button(action: str, label: str, style: str, value: str) -> dict[str, Any]:
    return {"type": "button", "action_id": action, "style": style, "value": value, "text": _plain(label)}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}
