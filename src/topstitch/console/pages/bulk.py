"""One command on many instances: a frozen set, shown before it starts, with an outcome for each item.

``choose`` freezes what was ticked or what matched; later changes do not join it. The page of a batch
is its preview until it starts, then its progress, then its result. What is over the size that asks
for it is confirmed by typing the number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.bulk import SELECTION_MAX, Bulk
from topstitch.console.people import Person
from topstitch.console.site import Site, back, plural, sent, sent_pairs, sheet, twin
from topstitch.console.stream import looked_on
from topstitch.foundation.errors import NotAllowedError, RequestError
from topstitch.model.query import parse_query
from topstitch.model.record import Actor, ActorKind
from topstitch.office import batches
from topstitch.store import batches as kept, searches

TYPED_OVER: Final = 25
"""Sets larger than this are confirmed by typing how many they are."""
EXAMPLES: Final = 10
ROWS_MAX: Final = 500


def _actor(person: Person) -> Actor:
    why = person.why_not("operate")
    if why is not None:
        raise NotAllowedError("not-allowed", f"you may not act on instances; {why}")
    return Actor(ActorKind.HUMAN, person.id.removeprefix("human:"))


async def choose(request: Request) -> Response:
    """``POST /batches``: freeze a selection and go to its preview."""
    site: Site = request.app.state.site
    bulk: Bulk = request.app.state.bulk
    actor = _actor(request.state.person)
    pairs = await sent_pairs(request)
    form = dict(pairs)
    names = [value for name, value in pairs if name == "id" and value]
    if form.get("all") == "yes":
        query = parse_query(form.get("q", ""))
        names = await searches.names(site.hands.store, query, site.hands.clock.now(), limit=SELECTION_MAX + 1)
    if not names:
        raise RequestError("nothing-chosen", "nothing is chosen; tick rows of the list, or all that match")
    if len(names) > SELECTION_MAX:
        raise RequestError(
            "too-many-chosen", f"a batch here has at most {SELECTION_MAX:,} instances; narrow the search and try again"
        )
    return back(request, f"/batches/{await bulk.freeze(_wish(form), names, actor)}")


def _wish(form: Mapping[str, str]) -> dict[str, Any]:
    verb, _, choice = form.get("verb", "").partition("-")
    if verb not in batches.VERBS:
        raise RequestError("unknown-command", f"there is no command {verb or 'of no name'}; choose one of the list")
    if not form.get("reason", "").strip():
        raise RequestError("no-reason", "a batch is kept with its reason; say why")
    step = form.get("step") or None
    if verb in ("retry", "skip") and step is None:
        raise RequestError("no-step", f"{verb} needs to know the step; choose it beside the command")
    return {
        "name": verb,
        "step": step if verb in ("retry", "skip") else None,
        "choice": choice or None,
        "reason": form["reason"].strip(),
        "edits": [form["edit"].strip()] if form.get("edit", "").strip() else [],
    }


@looked_on
async def batch(request: Request) -> Response:
    """``GET /batches/{name}``: preview, progress or result."""
    site: Site = request.app.state.site
    facts = await _facts(request)
    name = facts["batch"]
    return await site.render(
        request,
        "batch.html",
        nav="instances",
        title=facts["title"],
        facts=facts,
        typed=len(facts["items"]) > TYPED_OVER,
        examples=EXAMPLES,
        rows_max=ROWS_MAX,
        why_not=request.state.person.why_not("operate"),
        live="/stream" if facts["state"] == "running" else None,
        live_mode="now",
        twin=f"/batches/{name}.json",
        sheet=f"/batches/{name}.csv",
        command=f"topstitch batch {'start' if facts['state'] == 'previewed' else 'show'} {name}",
    )


async def batch_json(request: Request) -> Response:
    """``GET /batches/{name}.json``."""
    return twin(await _facts(request))


async def batch_csv(request: Request) -> Response:
    """``GET /batches/{name}.csv``: one row an item."""
    facts = await _facts(request)
    return sheet(("instance", "title", "ok", "outcome", "code", "message"), facts["items"])


VERB_WORDS: Final = {
    "retry": "Retry",
    "skip": "Skip a step of",
    "pause": "Pause",
    "resume": "Resume",
    "cancel": "Cancel",
    "edit": "Change data of",
}


async def _facts(request: Request) -> dict[str, Any]:
    """Return everything there is to say of a batch, item by item."""
    site: Site = request.app.state.site
    bulk: Bulk = request.app.state.bulk
    name = request.path_params["name"]
    batch_ = await kept.get(site.hands.store, name)
    rows = await kept.items(site.hands.store, name, limit=SELECTION_MAX)
    running = bulk.is_running(name)
    state = {"ended": "done", "started": "running" if running else "cut off"}.get(batch_.status, batch_.status)
    items = [_item(row, state) for row in rows]
    count = batch_.count
    return {
        "batch": name,
        "state": state,
        "title": f"{VERB_WORDS.get(batch_.action, batch_.action)} {plural(count, 'instance')}",
        "wish": batch_.wish,
        "by": batch_.frozen_by,
        "at": batch_.frozen_at,
        "count": count,
        "items": items,
        "able": sum(1 for row in rows if row["possible"]),
        "results": batch_.counts.get(kept.DONE, 0) + batch_.counts.get(kept.FAILED, 0),
        "failed": batch_.counts.get(kept.FAILED, 0),
    }


def _item(row: Mapping[str, Any], state: str) -> dict[str, Any]:
    outcome = {kept.DONE: "done", kept.FAILED: "failed", kept.LEFT: "not begun"}.get(row["status"])
    ok = {"done": True, "failed": False}.get(outcome or "")
    return {
        "instance": row["instance"],
        "title": row["title"],
        "says": row["says"],
        "possible": row["possible"],
        "ok": row["possible"] if state == "previewed" else ok,
        "outcome": outcome or ("waiting" if state == "running" else "not begun"),
        "code": row["code"],
        "message": " ".join(row["says"]) if state == "previewed" and not row["possible"] else row["message"],
    }


async def start(request: Request) -> Response:
    """``POST /batches/{name}/start``: carry out exactly what was frozen."""
    bulk: Bulk = request.app.state.bulk
    name = request.path_params["name"]
    actor = _actor(request.state.person)
    form = await sent(request)
    count = (await kept.get(bulk.desk.store, name)).count
    if count > TYPED_OVER and form.get("typed", "").strip().replace(",", "") != str(count):
        raise RequestError("not-confirmed", f"type {count} to confirm; nothing was done")
    await bulk.start(name, actor)
    return back(request, f"/batches/{name}")


async def again(request: Request) -> Response:
    """``POST /batches/{name}/again``: freeze what failed or was not begun as a batch of its own."""
    bulk: Bulk = request.app.state.bulk
    actor = _actor(request.state.person)
    facts = await _facts(request)
    names = [item["instance"] for item in facts["items"] if item["outcome"] in ("failed", "not begun")]
    if facts["state"] == "running" or not names:
        raise RequestError("nothing-chosen", "nothing of this batch is left; look at its result")
    return back(request, f"/batches/{await bulk.freeze(facts['wish'], names, actor)}")
