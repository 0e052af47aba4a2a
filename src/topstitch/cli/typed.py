"""Reads what is typed after a command as what is meant: a change, an event, a form, an address of the API, a file.

The commands use it, and ``counterparts``, which puts the same into a request. It never opens a database.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from topstitch.foundation.errors import OperatorError, RequestError

if TYPE_CHECKING:
    from topstitch.trigger.cloudevents import CloudEvent

TOKEN: Final = "TOPSTITCH_TOKEN"  # noqa: S105 -- the name of a variable
"""Where a token for the server is taken from, once people sign in there; never from an argument."""
BASE: Final = "/api/v1"
_SAFE: Final = "%/:=&?,+*~@!$'();[]-._"


def changed(text: str) -> tuple[str, Any]:
    """Read ``field=value``; the value is JSON, or else text as it is."""
    from topstitch.foundation.canonical import parse

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise RequestError("bad-change", f"{text!r} changes nothing; write it as field=value")
    try:
        return name, parse(value)
    except ValueError:
        return name, value


def handed_in(outputs: Sequence[str], output_json: str | None, form: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is handed in, each value in the type that the form asks for."""
    from topstitch.foundation.canonical import parse

    collected: dict[str, Any] = {}
    if output_json is not None:
        try:
            whole = parse(output_json)
        except ValueError as error:
            raise RequestError(
                "json-invalid", f"--output-json is no JSON ({error}); write one object in quotes"
            ) from None
        if not isinstance(whole, dict):
            raise RequestError(
                "json-invalid", '--output-json is no JSON object; write one such as \'{"number": "R-1"}\''
            )
        collected |= whole
    properties = form.get("properties") or {}
    for each in outputs:
        name, equals, value = each.partition("=")
        if not equals:
            raise RequestError("output-unclear", f"--output {each!r} has no '='; write it as name=value")
        collected[name] = _typed(value, properties.get(name, {}))
    return collected


def event_of(
    event_type: str, fields: Sequence[str], source_file: str | None, identity: str | None, source: str
) -> CloudEvent:
    """Return the event that is meant, under a new id unless it has one."""
    from topstitch.foundation.clock import SystemClock
    from topstitch.foundation.ids import new_id
    from topstitch.trigger.cloudevents import CloudEvent

    data = _data(fields, source_file)
    name = identity or new_id("evt", SystemClock().now())
    return CloudEvent(id=name, source=source, type=event_type, data=data)


def sent(event: CloudEvent) -> dict[str, Any]:
    """Return an event as a server takes it."""
    return {
        "specversion": "1.0", "id": event.id, "source": event.source, "type": event.type, "data": dict(event.data),
    }  # fmt: skip


def address_of(path: str) -> str:
    """Return an address below the API's."""
    if "://" in path or path.startswith("//"):
        message = f"{path} names a server; give the path here, and the server with --url"
        raise RequestError("path-unclear", message)
    return quote(f"/{path.removeprefix(f'{BASE}/').lstrip('/')}", safe=_SAFE)


def tag_of(match: str) -> str:
    """Return an ETag as a header takes it, typed with or without its quotation marks."""
    return match if match.startswith(('"', "W/", "*")) else f'"{match}"'


def body_of(given: str | None) -> bytes | None:
    """Return what is sent; raise when it is no JSON."""
    from pathlib import Path

    from topstitch.foundation.canonical import parse

    if given is None:
        return None
    try:
        if given == "-":
            text = sys.stdin.read()
        else:
            text = Path(given[1:]).read_text("utf-8") if given.startswith("@") else given
        parse(text)
    except OSError as error:
        message = f"{given[1:]} cannot be read ({error.strerror}); name another file"
        raise OperatorError("file-unreadable", message) from None
    except ValueError as error:
        raise RequestError("json-invalid", f"--body is no JSON ({error}); correct it") from None
    return text.encode()


def text_of(path: Path) -> str:
    """Return the text of a file that an author wrote; say what to do about one that cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OperatorError("file-missing", f"there is no file {path}; name one that exists") from None
    except IsADirectoryError:
        raise OperatorError("file-unreadable", f"{path} is a folder; name the files in it") from None
    except UnicodeDecodeError:
        raise OperatorError("file-unreadable", f"{path} is no UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise OperatorError(
            "file-unreadable", f"{path} cannot be read ({error.strerror}); correct its permissions"
        ) from None


def _data(fields: Sequence[str], source_file: str | None) -> Mapping[str, Any]:
    from topstitch.foundation.canonical import parse

    data: dict[str, Any] = {}
    if source_file is not None:
        try:
            whole = parse(sys.stdin.read() if source_file == "-" else Path(source_file).read_text("utf-8"))
        except OSError as error:
            raise OperatorError(
                "file-unreadable", f"{source_file} cannot be read ({error.strerror}); name another"
            ) from None
        except ValueError as error:
            raise RequestError("json-invalid", f"{source_file} is no JSON ({error}); correct it") from None
        if not isinstance(whole, dict):
            raise RequestError("json-invalid", f"{source_file} holds no JSON object; write one with the event's fields")
        data |= whole
    for each in fields:
        name, equals, value = each.partition("=")
        if not equals:
            raise RequestError("field-unclear", f"--field {each!r} has no '='; write it as name=value")
        data[name] = value
    return data


def _typed(value: str, shape: Mapping[str, Any]) -> Any:
    match shape.get("type"):
        case "integer" if value.lstrip("-").isdigit():
            return int(value)
        case "boolean" if value.lower() in ("true", "false", "yes", "no"):
            return value.lower() in ("true", "yes")
        case "array":
            return [part.strip() for part in value.split(",") if part.strip()]
        case _:
            return value
