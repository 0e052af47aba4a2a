"""Renders the reference of the API from its own document: one page, no script, nothing from another host.

Each operation is shown with what it takes and gives, the right it needs, and the same call written for
curl, Python and the command line. ``bootstrap`` mounts it at ``/api/reference``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, Final

from fastapi import FastAPI
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from topstitch import __version__
from topstitch.access.guard import needs
from topstitch.api import problems
from topstitch.api.guard import KEY, NEEDED
from topstitch.api.operations import COMMAND, RIGHT
from topstitch.foundation.canonical import canonical_bytes, parse
from topstitch.governance.access import PUBLIC

PAGE: Final = "/api/reference"
POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
WORDS: Final = {
    "{name}": "NAME", "{source}": "workday", "{target}": "entra-id", "{version}": "1.0.0", "{delivery}": "DELIVERY",
}  # fmt: skip
DEPTH_MAX: Final = 4


def reference_page(app: FastAPI) -> Starlette:
    """Return the page as an application to be mounted."""
    made: list[str] = []

    @needs(PUBLIC)
    async def page(_request: Request) -> Response:
        if not made:
            made.append(rendered(app.openapi()))
        return HTMLResponse(made[0], headers=HEADERS)

    @needs(PUBLIC)
    async def style(_request: Request) -> Response:
        text = (files("topstitch.api") / "static" / "reference.css").read_text("utf-8")
        return Response(text, media_type="text/css", headers=HEADERS)

    @needs(PUBLIC)
    async def mark(_request: Request) -> Response:
        text = (files("topstitch.api") / "static" / "mark.svg").read_text("utf-8")
        return Response(text, media_type="image/svg+xml", headers=HEADERS)

    routes = [
        Route("/", page, methods=["GET"]),
        Route("/reference.css", style, methods=["GET"]),
        Route("/mark.svg", mark, methods=["GET"]),
    ]
    return Starlette(routes=routes, exception_handlers=problems.handlers())


def rendered(document: Mapping[str, Any]) -> str:
    """Return the page of a document."""
    environment = Environment(
        loader=PackageLoader("topstitch.api"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    groups: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for one in operations(document):
        groups[one["tag"]].append(one)
    template = environment.get_template("reference.html")
    about = {tag["name"]: tag["description"] for tag in document["tags"]}
    shown = {name: found for name, found in groups.items() if found}
    return template.render(groups=shown, about=about, info=document["info"], version=__version__)


def operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every operation as the page shows it."""
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            body = _body(document, one)
            yield {
                "id": f"{method}-{path.strip('/').replace('/', '-').replace('{', '').replace('}', '')}",
                "tag": one["tags"][0],
                "method": method.upper(),
                "path": f"/api/v1{path}",
                "summary": one["summary"],
                "description": one.get("description", ""),
                "right": one.get(RIGHT),
                "key": one.get(NEEDED),
                "parameters": [_parameter(each) for each in one.get("parameters", ())],
                "fields": list(_fields(document, body)) if body else [],
                "answers": sorted(code for code in one["responses"] if code.isdigit()),
                "curl": _curl(method, path, one, body, document),
                "python": _python(method, path, one, body, document),
                "command": one.get(COMMAND),
            }


def example_of(document: Mapping[str, Any], schema: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a value of the shape that a schema asks for: its example, or the simplest one."""
    schema = _resolved(document, schema)
    if schema.get("examples"):
        return schema["examples"][0]
    for name in ("const", "default", "example"):
        if schema.get(name) is not None:
            return schema[name]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            return example_of(document, choice, depth)
    if schema.get("type") == "object" and depth < DEPTH_MAX:
        wanted = schema.get("required", ())
        return {name: example_of(document, schema["properties"][name], depth + 1) for name in wanted}
    simple = {"array": [], "integer": 1, "number": 1, "boolean": True, "object": {}}
    return simple.get(schema.get("type", ""), "text")


def _body(document: Mapping[str, Any], one: Mapping[str, Any]) -> Mapping[str, Any] | None:
    content = one.get("requestBody", {}).get("content", {})
    for media in content.values():
        return {**_resolved(document, media["schema"]), **({"example": media["example"]} if "example" in media else {})}
    return None


def _fields(document: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, schema in body.get("properties", {}).items():
        yield {
            "name": name,
            "required": name in body.get("required", ()),
            "type": _type(document, schema),
            "text": schema.get("description", ""),
        }


def _parameter(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": one["name"],
        "place": one["in"],
        "required": one.get("required", False),
        "type": _type({}, one["schema"]),
        "text": one.get("description", ""),
    }


def _type(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    schema = _resolved(document, schema)
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(
            dict.fromkeys(_type(document, each) for each in schema["anyOf"] if each.get("type") != "null")
        )
    if schema.get("type") == "array":
        return f"list of {_type(document, schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type", "any"))


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return {**found, **{name: value for name, value in schema.items() if name != "$ref"}}


def _address(path: str) -> str:
    for mark, word in WORDS.items():
        path = path.replace(mark, word)
    return path


def _curl(
    method: str, path: str, one: Mapping[str, Any], body: Mapping[str, Any] | None, document: Mapping[str, Any]
) -> str:
    lines = [f"curl{'' if method == 'get' else ' -X ' + method.upper()} $TOPSTITCH/api/v1{_address(path)}"]
    lines.append('-H "Authorization: Bearer $TOKEN"')
    if one.get(NEEDED) == "required":
        lines.append(f'-H "{KEY}: $(uuidgen)"')
    if one.get("x-if-match"):
        lines.append("-H 'If-Match: \"ETAG\"'")
    if body is not None:
        media = next(iter(one["requestBody"]["content"]))
        lines.append(f"-H 'Content-Type: {media}'")
        lines.append(f"-d '{_json(example_of(document, body))}'")
    return " \\\n  ".join(lines)


def _python(
    method: str, path: str, one: Mapping[str, Any], body: Mapping[str, Any] | None, document: Mapping[str, Any]
) -> str:
    headers = ['"Authorization": f"Bearer {token}"']
    if one.get(NEEDED) == "required":
        headers.append(f'"{KEY}": str(uuid.uuid4())')
    if one.get("x-if-match"):
        headers.append('"If-Match": etag')
    if body is not None:
        media = next(iter(one["requestBody"]["content"]))
        headers.append(f'"Content-Type": "{media}"')
    given = f"\n    data=json.dumps({_literal(example_of(document, body))}).encode()," if body is not None else ""
    return (
        f'request = urllib.request.Request(\n    f"{{server}}/api/v1{_address(path)}",{given}\n'
        f'    headers={{{", ".join(headers)}}},\n    method="{method.upper()}",\n)\n'
        "answer = json.load(urllib.request.urlopen(request))"
    )


def _json(value: Any) -> str:
    return canonical_bytes(value).decode()


def _literal(value: Any) -> str:
    """Return a value as Python writes it."""
    return repr(parse(_json(value)))
