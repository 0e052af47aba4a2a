"""Alerts on the overview: what is open, acknowledging one, muting its cause until a time.

``metrics.watch`` decides what is alarming and carries both out; here a person says so, with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.hands import Hands
from topstitch.console.site import back, local_path, sent
from topstitch.foundation.errors import RequestError
from topstitch.foundation.timetext import parse_duration
from topstitch.governance.access import covered
from topstitch.metrics import watch
from topstitch.model.record import Actor, ActorKind
from topstitch.plan.plan import Plan
from topstitch.store import alarms, definitions
from topstitch.store.sealing import milliseconds, moment

TONES: Final = {"crossed": "warn", "at_risk": "warn"}
MUTE_MAX_SECONDS: Final = 30 * 86400


class Plans:
    """The plans of the console's hands, as the metrics ask for them."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    async def load(self, digest: str) -> Plan:
        """Return the plan of a definition version."""
        return await self._hands.load(digest)

    async def in_force(self) -> Sequence[Plan]:
        """Return the plan in force of every workflow."""
        return [await self._hands.load(d.digest) for d in await definitions.in_force(self._hands.store)]


def watcher(hands: Hands) -> watch.Watcher:
    """Return what the metrics work with."""
    return watch.Watcher(store=hands.store, plans=Plans(hands))


async def open_alerts(hands: Hands, part: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """Return the alerts that stand, the worst first; muted ones last. ``part`` are the workflows that may be seen."""
    now = milliseconds(hands.clock.now())
    muted = {mute.cause: mute for mute in await alarms.mutes(hands.store) if mute.ends_ms > now}
    found = []
    for row in await alarms.listing(hands.store):
        if not covered(part, row.workflow):
            continue
        mute = muted.get(row.cause)
        seam = f"/seams/{row.from_system}/{row.to_system}" if row.from_system and row.to_system else None
        worst = next((one.get("instance") for one in row.body.get("worst") or ()), None)
        found.append(
            {
                "id": row.id,
                "workflow": row.workflow,
                "tone": TONES.get(row.level, "breach"),
                "title": row.body.get("title") or row.cause,
                "why": row.body.get("text") or row.kind,
                "href": seam or (f"/instances/{worst}" if worst else f"/workflows/{row.workflow}"),
                "since": moment(row.since_ms),
                "acknowledged_by": row.acknowledged_by,
                "muted_until": moment(mute.ends_ms) if mute else None,
            }
        )
    return sorted(found, key=lambda one: (one["muted_until"] is not None, one["tone"] != "breach"))


async def acknowledge(request: Request) -> Response:
    """``POST /alerts/{name}/acknowledge``."""
    hands: Hands = request.app.state.hands
    form = await sent(request)
    note = form.get("note", "").strip() or None
    await watch.acknowledge(watcher(hands), request.path_params["name"], _actor(request), hands.clock.now(), note)
    return back(request, local_path(form.get("next"), "/"), "Acknowledged: it is yours, and others see that.")


async def mute(request: Request) -> Response:
    """``POST /alerts/{name}/mute``: tell nobody of its cause for a time, with a reason."""
    hands: Hands = request.app.state.hands
    form = await sent(request)
    try:
        seconds = parse_duration(form.get("for", "").strip())
    except ValueError as error:
        raise RequestError("mute-end", f"{error}") from None
    now = hands.clock.now()
    if seconds > MUTE_MAX_SECONDS:
        raise RequestError("mute-end", "a mute lasts at most 30 days; name a nearer end")
    until, because = now + timedelta(seconds=seconds), form.get("because", "")
    made = watch.mute(watcher(hands), request.path_params["name"], _actor(request), now, until=until, because=because)
    await made
    return back(request, local_path(form.get("next"), "/"), "Muted: it is still shown, and nobody is told of it.")


def _actor(request: Request) -> Actor:
    return Actor(ActorKind.HUMAN, request.state.person.id.removeprefix("human:"))
