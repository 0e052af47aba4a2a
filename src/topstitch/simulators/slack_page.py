"""Draws the simulated Slack's page: channels, messages, their buttons, open views.

``slack_people`` serves it. Plain HTML without script; it reloads itself. It decides nothing.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final
from urllib.parse import parse_qsl

from topstitch.simulators.state import Json, Records

_STYLE: Final = """
body{font:15px/1.45 system-ui,sans-serif;margin:0;color:#1d1c1d;background:#f8f8f8}
header{background:#3f0e40;color:#fff;padding:.7rem 1.2rem;display:flex;gap:1rem;align-items:center}
main{max-width:46rem;margin:1rem auto;padding:0 1rem}
h2{font-size:1rem;margin:1.4rem 0 .4rem;border-bottom:1px solid #ddd;padding-bottom:.2rem}
article{background:#fff;border:1px solid #e2e2e2;border-radius:.4rem;padding:.7rem .9rem;margin:.5rem 0}
small{color:#616061}form{display:inline}
button{font:inherit;padding:.25rem .8rem;border-radius:.3rem;border:1px solid #bbb;background:#fff}
button.primary{background:#007a5a;border-color:#007a5a;color:#fff}
button.danger{background:#e01e5a;border-color:#e01e5a;color:#fff}
dl{display:grid;grid-template-columns:1fr 1fr;gap:.2rem 1rem;margin:.3rem 0}
"""


def page(records: Records, as_user: str) -> str:
    """Return the whole page, seen by one person."""
    users = [user for user in records.all("users") if not user["is_bot"]]
    current = as_user or (users[0]["profile"]["email"] if users else "")
    reload = "" if records.all("views") else '<meta http-equiv="refresh" content="5">'
    views = "".join(_view(view, current) for view in records.all("views"))
    channels = "".join(_channel(records, channel, current) for channel in records.all("channels"))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{reload}'
        f"<title>Acme chat (simulated)</title><style>{_STYLE}</style></head>"
        f"<body><header><strong>Acme chat, simulated</strong>{_who(users, current)}</header>"
        f"<main>{views}{channels or '<p>No messages yet.</p>'}</main></body></html>"
    )


def refusal(text: str) -> str:
    """Return a page that says why something did not work."""
    return (
        f'<!doctype html><html lang="en"><head><title>Refused</title></head><body><p>{escape(text)}</p></body></html>'
    )


def form(body: bytes) -> dict[str, str]:
    """Read a submitted form."""
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _who(users: list[Json], current: str) -> str:
    options = "".join(
        f'<option value="{escape(u["profile"]["email"])}"{" selected" if u["profile"]["email"] == current else ""}>'
        f"{escape(u['real_name'])}</option>"
        for u in users
    )
    choice = f'<label>You are <select name="as">{options}</select></label>'
    return f'<form action="/client">{choice} <button>Switch</button></form>'


def _channel(records: Records, channel: Json, current: str) -> str:
    messages = records.find("messages", channel=channel["id"])[-30:]
    if not messages:
        return ""
    return f"<h2># {escape(channel['name'])}</h2>" + "".join(_message(message, current) for message in messages)


def _message(message: Json, current: str) -> str:
    blocks = "".join(_block(message, block, current) for block in message.get("blocks", []))
    text = blocks or f"<p>{_text(message.get('text', ''))}</p>"
    only_you = " (only visible to you)" if message.get("is_ephemeral") else ""
    return f"<article><strong>Topstitch</strong> <small>{escape(message['ts'])}{only_you}</small>{text}</article>"


def _block(message: Json, block: Json, current: str) -> str:
    match block.get("type"):
        case "header":
            return f"<p><strong>{_text(block['text'])}</strong></p>"
        case "divider":
            return "<hr>"
        case "context":
            return f"<p><small>{' '.join(_text(one) for one in block.get('elements', []))}</small></p>"
        case "actions":
            return f"<p>{''.join(_button(message, block, one, current) for one in block.get('elements', []))}</p>"
        case "section":
            text = f"<p>{_text(block['text'])}</p>" if "text" in block else ""
            fields = "".join(f"<div>{_text(one)}</div>" for one in block.get("fields", []))
            button = _button(message, block, block["accessory"], current) if "accessory" in block else ""
            return text + (f"<dl>{fields}</dl>" if fields else "") + button
    return ""


def _button(message: Json, block: Json, element: Json, current: str) -> str:
    if element.get("type") != "button":
        return ""
    if "url" in element:
        return f'<a href="{escape(element["url"])}">{_text(element["text"])}</a>'
    hidden = {
        "channel": message["channel"],
        "ts": message["ts"],
        "block_id": block.get("block_id", ""),
        "action_id": element["action_id"],
        "user": current,
    }
    inputs = "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in hidden.items())
    style = escape(element.get("style", ""))
    button = f'<button class="{style}">{_text(element["text"])}</button>'
    return f'<form method="post" action="/client/press">{inputs}{button}</form>'


def _view(view: Json, current: str) -> str:
    inputs = ""
    for block in view.get("blocks", []):
        if block.get("type") == "input":
            name = escape(f"{block.get('block_id', '')}/{block['element'].get('action_id', '')}")
            inputs += f'<p><label>{_text(block.get("label", ""))}<br><input name="{name}" size="50"></label></p>'
        elif "text" in block:
            inputs += f"<p>{_text(block['text'])}</p>"
    names = {"view": view["id"], "user": current}
    hidden = "".join(f'<input type="hidden" name="{name}" value="{escape(text)}">' for name, text in names.items())
    title, button = _text(view.get("title", "")), _text(view.get("submit", "Submit"))
    inner = f'{hidden}{inputs}<button class="primary">{button}</button>'
    return f'<article><strong>{title}</strong><form method="post" action="/client/submit">{inner}</form></article>'


def _text(value: Any) -> str:
    """Return a text object, or plain text, escaped; line breaks stay."""
    text = value.get("text", "") if isinstance(value, dict) else str(value)
    return escape(str(text)).replace("\n", "<br>")
