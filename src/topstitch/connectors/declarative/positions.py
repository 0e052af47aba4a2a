"""Decides what a YAML text holds and where each part of it stands.

A strict profile: plain maps, lists and scalars; no anchors, tags, merges or repeated keys;
only ``true`` and ``false`` are booleans. ``load`` is called once per file, by ``document``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from topstitch.foundation.errors import OperatorError

Place = tuple[int, int]
At = tuple[str | int, ...]

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+")
_WORDS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None, "~": None, "": None}
_TAG: Final = "tag:yaml.org,2002:"
_PLAIN: Final = frozenset({"null", "bool", "int", "float", "str", "timestamp", "map", "seq"})
_DEPTH_MAX: Final = 40


class Text:
    """A loaded file: its value, and the line and column of every part."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._places: dict[At, Place] = {}
        self.value = self._load(text)

    def error(self, at: At, message: str, code: str = "system_file_invalid") -> OperatorError:
        """Return an error that says where; a part that is absent is placed at what should hold it."""
        known = next((at[:n] for n in range(len(at), -1, -1) if at[:n] in self._places), ())
        line, column = self._places.get(known, (1, 1))
        where = ".".join(map(str, at)) or "the file"
        return OperatorError(code, f"{self.path}:{line}:{column}: {where}: {message}")

    def _load(self, text: str) -> Any:
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            self._places[()] = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise self.error((), f"{error.problem or error}; correct the YAML there") from None
        except yaml.YAMLError as error:
            raise self.error((), f"{error}; save it as UTF-8 text") from None
        if "&" in text and _has_anchor(text):
            raise self.error((), "anchors and aliases are not taken; write the value out")
        return None if root is None else self._plain(root, ())

    def _plain(self, node: yaml.Node, at: At) -> Any:
        self._places.setdefault(at, (node.start_mark.line + 1, node.start_mark.column + 1))
        if len(at) > _DEPTH_MAX:
            raise self.error(at, f"nests deeper than {_DEPTH_MAX}; flatten it")
        if node.tag.removeprefix(_TAG) not in _PLAIN:
            raise self.error(at, f"the tag {node.tag} is not taken; write a plain value")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*at, number)) for number, item in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, at: At) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.error(at, "a key must be a word; write it as text")
            name, place = key.value, (key.start_mark.line + 1, key.start_mark.column + 1)
            if name in plain:
                self._places[(*at, name)] = place
                raise self.error((*at, name), "stands twice; keep one of them")
            self._places[(*at, name)] = place
            plain[name] = self._plain(value, (*at, name))
        return plain


def load(path: Path) -> Text:
    """Read a file; raise ``OperatorError`` with the place and the remedy."""
    try:
        return Text(path, path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OperatorError("system_file_missing", f'there is no {path}; correct connector = "http:<file>"') from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise OperatorError(
            "system_file_unreadable", f"{path} cannot be read ({reason}); correct its permissions or its content"
        ) from None


def _scalar(node: yaml.Node) -> Any:
    text = str(node.value)
    if getattr(node, "style", None) is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _has_anchor(text: str) -> bool:
    return any(isinstance(t, yaml.AnchorToken | yaml.AliasToken) for t in yaml.scan(text, Loader=yaml.SafeLoader))
