"""Renders pages: one template environment, what every page shows around its content, and how errors look.

Pages call ``render`` with what they found. Templates are autoescaped; markup made in Python (icons,
pictures) is marked where it is made. The JSON twin of a page goes through ``twin``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from topstitch import __version__
from topstitch.console import icons, times, words
from topstitch.console.hands import Hands
from topstitch.console.people import Person
from topstitch.console.rights import part_seen
from topstitch.foundation.canonical import canonical_bytes, digest_bytes
from topstitch.foundation.errors import ConflictError, NotAllowedError, NotFoundError, RequestError, TopstitchError
from topstitch.foundation.timetext import rfc3339
from topstitch.store.searches import open_counts

PAYLOAD_SHOWN_MAX: Final = 64 * 1024
NOTHING: Final = "\u2013"
THEME_COOKIE: Final = "topstitch_theme"
KEYS_COOKIE: Final = "topstitch_keys"
THEMES: Final = ("auto", "light", "dark")
RAIL: Final = (
    (
        "",
        (
            ("overview", "/", "Overview", "layout-grid"),
            ("instances", "/instances", "Instances", "list-checks"),
            ("approvals", "/approvals", "Approvals", "circle-check"),
            ("exceptions", "/exceptions", "Exceptions", "triangle-alert"),
            ("discrepancies", "/discrepancies", "Discrepancies", "git-compare-arrows"),
        ),
    ),
    (
        "Design",
        (
            ("workflows", "/workflows", "Workflows", "workflow"),
            ("connectors", "/connectors", "Connectors", "plug"),
            ("policies", "/policies", "Policies", "scroll-text"),
        ),
    ),
    ("Govern", (("audit", "/audit", "Audit", "shield-check"), ("settings", "/settings", "Settings", "settings"))),
)
STATUS_BY_KIND: Final[tuple[tuple[type[TopstitchError], int], ...]] = (
    (NotFoundError, 404),
    (NotAllowedError, 403),
    (ConflictError, 409),
    (RequestError, 422),
)


class Site:
    """The templates, and the hands that pages read with."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.assets = _asset_tags()
        self.env = Environment(
            loader=PackageLoader("topstitch.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.env.globals |= {
            "icon": lambda name, size=16: icons.drawn(icons.icon(name, size)),
            "asset": self._asset,
            "words": words,
            "version": __version__,
        }
        self.env.filters |= {
            "pretty": pretty,
            "human": human,
            "span": _span,
            "digest": short_digest,
            "plural": plural,
            "who": who,
            "sentence": sentence,
            "ticks": ticks,
        }

    def _asset(self, name: str) -> str:
        return f"/static/{name}?v={self.assets.get(name, '')}"

    async def render(
        self, request: Request, template: str, *, status: int = 200, bare: bool = False, **values: Any
    ) -> Response:
        """Return a page."""
        person = request.state.person
        bare = bare or person is None
        zone = self.zone(request)
        around: dict[str, Any] = {
            "request": request,
            "nonce": request.state.nonce,
            "person": person,
            "zone": zone,
            "theme": _chosen(request, THEME_COOKIE, THEMES),
            "keys": request.cookies.get(KEYS_COOKIE) != "off",
            "rail": RAIL,
            "open": None if bare else await open_counts(self.hands.store, part_seen(request, "instances.read")),
            "notices": self.hands.notices,
            "demo": acts_as_anybody(self.hands, person),
            "cast": self.hands.cast,
            "at": lambda moment, form="short": _time(moment, form, zone),
            "local": lambda text: in_zone(str(text), zone),
            "here": lambda **changes: _here(request, changes),
            "nav": None,
            "live": None,
            "live_mode": "hold",
            "twin": None,
            "sheet": None,
            "bare": bare,
            "said": request.query_params.get("said"),
        }
        values["live"] = _live(request, values.get("live"))
        html = self.env.get_template(template).render({**around, **values})
        return HTMLResponse(html, status)

    def zone(self, request: Request) -> times.Zone:
        """Return the zone of a page: its address says, else the viewer's cookie, else the installation's."""
        name = request.query_params.get("tz") or request.cookies.get(times.COOKIE)
        return times.zone_of(name, self.hands.clock.now(), self.hands.zone)

    async def error(self, request: Request, error: TopstitchError) -> Response:
        """Return what went wrong as a page, with the remedy; the form that was sent can be tried again."""
        status = status_of(error)
        return await self.render(
            request,
            "error.html",
            status=status,
            title=_TITLES.get(status, "This did not work"),
            message=error.message,
            code=error.code,
        )


STREAM: Final = "/stream"


def _live(request: Request, stream: str | None) -> str | None:
    """Let the stream of a page begin where the reading of the page began; all that happens is for who sees all."""
    if stream is None or (stream == STREAM and part_seen(request, "instances.read") is not None):
        return None
    return f"{stream}{'&' if '?' in stream else '?'}since={request.state.position}"


_TITLES: Final = {403: "Not yours to do", 404: "Nothing here", 409: "Somebody was quicker", 422: "This cannot be read"}


def acts_as_anybody(hands: Hands, person: Person | None) -> bool:
    """Whether nobody signs in here (yet), so that whoever sits at this machine chooses who they are."""
    if person is None or person.identity.via != "local":
        return False
    return hands.sign_in is None or hands.access is not None


def status_of(error: TopstitchError) -> int:
    """Return the HTTP status that says who must act."""
    return next((code for kind, code in STATUS_BY_KIND if isinstance(error, kind)), 500)


def problem(error: TopstitchError, status: int | None = None) -> Response:
    """Return what went wrong with a JSON twin."""
    status = status or status_of(error)
    document = {
        "type": "about:blank",
        "title": _TITLES.get(status, "This did not work"),
        "status": status,
        "detail": error.message,
        "code": error.code,
    }
    return Response(canonical_bytes(document), status, media_type="application/problem+json")


def twin(document: Mapping[str, Any] | Sequence[Any]) -> Response:
    """Return data as JSON."""
    return Response(canonical_bytes(plain(document)), media_type="application/json")


def sheet(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Response:
    """Return rows as CSV. A text that a spreadsheet would take for a formula begins with an apostrophe."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
    return Response(written.getvalue(), media_type="text/csv; charset=utf-8")


def _cell(value: Any) -> Any:
    match plain(value):
        case None:
            return ""
        case list() | dict() as nested:
            return canonical_bytes(nested).decode()
        case str() as text:
            return f"'{text}" if text[:1] in _FORMULA else text
        case other:
            return other


_FORMULA: Final = tuple("=+-@\t\r")


def plain(value: Any) -> Any:
    """Return a value with its times as text and nothing that JSON does not know."""
    match value:
        case datetime():
            return rfc3339(value)
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case bool() | int() | None:
            return value
        case float():
            return round(value, 3) if not value.is_integer() else int(value)
        case _:
            return str(value)


def back(request: Request, to: str, said: str | None = None) -> Response:
    """Go back after a post; ``said`` is told once."""
    del request
    mark = "&" if "?" in to else "?"
    path, hash_sign, fragment = to.partition("#")
    address = f"{path}{mark}{urlencode({'said': said})}" if said else path
    return RedirectResponse(f"{address}{hash_sign}{fragment}", 303)


def local_path(text: str | None, otherwise: str) -> str:
    """Return a path of this console; anything that leads elsewhere is not followed."""
    return text if text and re.fullmatch(r"/(?![/\\])[\x21-\x7e]*", text) else otherwise


def pretty(value: Any) -> str:
    """Return a value as text to be read, cut where it is too large."""
    import orjson  # noqa: PLC0415 -- only pages with payloads need it

    text = orjson.dumps(plain(value), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
    if len(text) <= PAYLOAD_SHOWN_MAX:
        return text
    return text[:PAYLOAD_SHOWN_MAX] + f"\n… {len(text) - PAYLOAD_SHOWN_MAX} more characters; the JSON twin has them all"


def human(value: Any) -> str:
    """Return a value of a payload in one line."""
    match value:
        case None | "":
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(human(v) for v in value) or NOTHING
        case Mapping():
            return "erased" if value.keys() == {"erased"} else ", ".join(f"{k} {human(v)}" for k, v in value.items())
        case str() if _MONEY.fullmatch(value):
            amount, _, currency = value.partition(" ")
            whole, dot, cents = amount.partition(".")
            return f"{int(whole):,}{dot}{cents} {currency}"
        case _:
            return str(value)


_MONEY: Final = re.compile(r"-?\d{4,}(?:\.\d+)? [A-Z]{3}")


def short_digest(text: str | None) -> str:
    """``9f3c…e41a``."""
    bare = (text or "").removeprefix("sha256:")
    return f"{bare[:4]}…{bare[-4:]}" if len(bare) > 12 else bare


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 approval``, ``2 approvals``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def who(name: Any) -> str:
    """Return a person's, group's or policy's name without its kind."""
    text = str(name or "")
    if text == "policy:definition":
        return "the definition"
    for kind in ("human:", "group:", "person:", "system:"):
        text = text.removeprefix(kind)
    return text.replace("manager_of(subject)", "the manager")


def sentence(text: str) -> str:
    """Begin with a capital and end with a full stop."""
    text = text.strip()
    if not text:
        return ""
    named = "_" in text.split(maxsplit=1)[0]  # an id or a name of the definition is written as it is
    return (text[0] if named else text[0].upper()) + text[1:] + ("" if text[-1] in ".!?" else ".")


def ticks(text: str) -> Markup:
    """Return a text with what stands between backticks as code."""
    parts = (f"<code>{escape(part)}</code>" if k % 2 else str(escape(part)) for k, part in enumerate(text.split("`")))
    return icons.drawn("".join(parts))


def in_zone(text: str, zone: times.Zone) -> str:
    """Return a sentence with the times in it written in a zone."""
    return _MOMENT.sub(lambda found: zone.short(datetime.fromisoformat(found[0])), text)


_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def _span(value: Any) -> str:
    return times.span(float(value.total_seconds() if hasattr(value, "total_seconds") else value))


def _time(moment: Any, form: str, zone: times.Zone) -> Markup:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment is None:
        return icons.drawn(NOTHING)
    text = {"short": zone.short, "long": zone.long, "clock": zone.clock, "relative": zone.relative}[form](moment)
    # written with escape rather than Markup.format: a page holds hundreds of these
    return icons.drawn(f'<time datetime="{rfc3339(moment)}" title="{escape(zone.title(moment))}">{escape(text)}</time>')


def _here(request: Request, changes: Mapping[str, Any]) -> str:
    """Return this page's address with some of its parameters changed."""
    params = {k: v for k, v in request.query_params.items() if k != "said"}
    params |= {k: str(v) for k, v in changes.items() if v is not None}
    for name, value in changes.items():
        if value is None:
            params.pop(name, None)
    return request.url.path + (f"?{urlencode(params)}" if params else "")


def _chosen(request: Request, cookie: str, known: Sequence[str]) -> str:
    value = request.cookies.get(cookie, "")
    return value if value in known else known[0]


def _asset_tags() -> dict[str, str]:
    """Return a short digest of each file, so that browsers keep them until they change."""
    root = files("topstitch.console") / "static"
    found = {}
    for folder in ("", "vendor/", "fonts/"):
        for each in (root / folder if folder else root).iterdir():
            if each.is_file():
                found[folder + each.name] = digest_bytes(each.read_bytes()).removeprefix("sha256:")[:12]
    return found


def needs_person(request: Request) -> Person:
    """Return who is signed in."""
    person: Person = request.state.person
    return person


FORM_BYTES_MAX: Final = 256 * 1024


async def sent(request: Request) -> dict[str, str]:
    """Return the fields of a posted form, the last of each name; forms here send no files."""
    return dict(await sent_pairs(request))


async def sent_pairs(request: Request) -> list[tuple[str, str]]:
    """Return the fields of a posted form in order, with names that come more than once."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise RequestError("too-large", f"a form has at most {FORM_BYTES_MAX // 1024} KB; write less")
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
