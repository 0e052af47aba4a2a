"""Decides what an expression reads, calls and may grow to, from its checked syntax tree.

CEL hands its tree out as protobuf; the few messages of ``cel.expr`` that are needed are
declared here by hand, so that no generated package is required. ``expressions`` and
``check`` ask this file; it never evaluates anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as AnyMessage

INPUT_SIZE: Final = 1_000
"""How long a text from outside is taken to be when growth is estimated."""
INPUT_COUNT: Final = 100
"""How many items a list from outside is taken to have."""
UNBOUNDED: Final = 100_000
"""The factor of a replacement that is not written out."""
ITERATIONS_MAX: Final = 10_000
"""CEL's own limit on the iterations of one evaluation."""

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One dotted path an expression reads, and whether it tolerates that the value is absent."""

    path: Path
    optional_from: int | None = None
    """The index of the first part that was reached with ``.?``; all before it must be there."""
    tested: bool = False
    """Whether it is only asked for with ``has()``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntax:
    """What the tree says about an expression."""

    reads: tuple[Read, ...]
    calls: tuple[tuple[str, tuple[str | None, ...]], ...]
    """Each function called, with those of its arguments that are texts written out."""
    walks_map: bool
    """Whether a comprehension goes over a map, whose order is not defined."""
    growth: float
    """An upper estimate of the size of the result, in characters."""
    constant: bool
    """Whether it reads nothing, so that its value never changes."""

    @property
    def paths(self) -> frozenset[str]:
        """The paths as dotted text."""
        return frozenset(".".join(read.path) for read in self.reads)


def analyse(serialized: bytes) -> Syntax:
    """Return what the tree of a compiled expression says."""
    wrapper = AnyMessage.FromString(serialized)
    checked = _CHECKED.FromString(wrapper.value)
    walk = _Walk(checked.type_map)
    walk.visit(checked.expr, frozenset())
    reads = tuple(walk.reads)
    return Syntax(
        reads=reads,
        calls=tuple(walk.calls),
        walks_map=walk.walks_map,
        growth=_size(checked.expr, {}),
        constant=not reads,
    )


class _Walk:
    """Collects reads and calls; every loop is bounded by CEL's depth limit of 32."""

    def __init__(self, types: Any) -> None:
        self.types = types
        self.reads: list[Read] = []
        self.calls: list[tuple[str, tuple[str | None, ...]]] = []
        self.walks_map = False

    def visit(self, node: Any, bound: frozenset[str]) -> None:
        """Visit a node with the names its surroundings bind."""
        read = _path(node, bound)
        if read is not None:
            self.reads.append(read)
            return
        match node.WhichOneof("kind"):
            case "select_expr":
                self.visit(node.select_expr.operand, bound)
            case "call_expr":
                self._call(node.call_expr, bound)
            case "list_expr":
                for element in node.list_expr.elements:
                    self.visit(element, bound)
            case "struct_expr":
                for entry in node.struct_expr.entries:
                    if entry.HasField("map_key"):
                        self.visit(entry.map_key, bound)
                    self.visit(entry.value, bound)
            case "comprehension_expr":
                self._comprehension(node.comprehension_expr, bound)

    def _call(self, call: Any, bound: frozenset[str]) -> None:
        self.calls.append((call.function, tuple(_text(argument) for argument in call.args)))
        if call.HasField("target"):
            self.visit(call.target, bound)
        for argument in call.args:
            self.visit(argument, bound)

    def _comprehension(self, node: Any, bound: frozenset[str]) -> None:
        over = node.iter_range
        self.walks_map = (
            self.walks_map or self.types[over.id].HasField("map_type") if over.id in self.types else self.walks_map
        )
        self.visit(over, bound)
        inner = bound | {node.iter_var, node.accu_var, node.iter_var2}
        for part in (node.accu_init, node.loop_condition, node.loop_step, node.result):
            self.visit(part, inner)


def _path(node: Any, bound: frozenset[str]) -> Read | None:
    """Return the read a node is, when it is a dotted path that starts at a free name."""
    match node.WhichOneof("kind"):
        case "ident_expr":
            return None if node.ident_expr.name in bound else Read(path=(node.ident_expr.name,))
        case "select_expr":
            select = node.select_expr
            return _longer(_path(select.operand, bound), select.field, optional=False, tested=select.test_only)
        case "call_expr":
            call = node.call_expr
            if call.function not in _INDEXING or len(call.args) != 2:
                return None
            field = _text(call.args[1])
            if field is None:
                return None
            return _longer(_path(call.args[0], bound), field, optional=call.function != "_[_]")
    return None


def _longer(read: Read | None, field: str, *, optional: bool, tested: bool = False) -> Read | None:
    if read is None:
        return None
    since = len(read.path) if optional and read.optional_from is None else read.optional_from
    return Read(path=(*read.path, field), optional_from=since, tested=tested)


def _text(node: Any) -> str | None:
    """Return the text a node writes out, if it is one."""
    if node.WhichOneof("kind") != "const_expr" or node.const_expr.WhichOneof("kind") != "string_value":
        return None
    return str(node.const_expr.string_value)


def _size(node: Any, names: dict[str, float]) -> float:
    """Estimate from above how long a node's value can get."""
    match node.WhichOneof("kind"):
        case "const_expr":
            return len(_text(node) or "1")
        case "ident_expr":
            return names.get(node.ident_expr.name, INPUT_SIZE)
        case "select_expr":
            return 1 if node.select_expr.test_only else _size(node.select_expr.operand, names)
        case "call_expr":
            return _call_size(node.call_expr, names)
        case "list_expr":
            return 1 + sum(_size(element, names) for element in node.list_expr.elements)
        case "struct_expr":
            return 1 + sum(1 + _size(entry.value, names) for entry in node.struct_expr.entries)
        case "comprehension_expr":
            loop = node.comprehension_expr
            inner = {**names, loop.iter_var: _size(loop.iter_range, names), loop.accu_var: 0.0}
            return _size(loop.accu_init, names) + min(_count(loop.iter_range), ITERATIONS_MAX) * _size(
                loop.loop_step, inner
            )
    return 1


def _call_size(call: Any, names: dict[str, float]) -> float:
    sizes = [_size(argument, names) for argument in call.args]
    target = _size(call.target, names) if call.HasField("target") else 0.0
    match call.function:
        case "replace":
            written = _text(call.args[1]) if len(call.args) > 1 else None
            return target * (max(1, len(written)) if written is not None else UNBOUNDED)
        case "join":
            return target * (1 + sum(sizes))
        case "_?_:_":
            return max(sizes)
        case name if name in _SMALL:
            return 1
    return 1 + target + sum(sizes)


def _count(node: Any) -> float:
    match node.WhichOneof("kind"):
        case "list_expr":
            return len(node.list_expr.elements)
        case "comprehension_expr":
            return _count(node.comprehension_expr.iter_range)
        case "call_expr" if node.call_expr.function == "_+_":
            return sum(_count(argument) for argument in node.call_expr.args)
    return INPUT_COUNT


_INDEXING: Final = frozenset({"_[_]", "_?._", "_[?_]"})
_SMALL: Final = frozenset({
    "!_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_&&_", "_||_", "@in", "@not_strictly_false", "size", "matches",
    "contains", "startsWith", "endsWith", "under", "over", "at_most", "indexOf", "lastIndexOf", "hasValue", "int",
    "double",
})  # fmt: skip

_Kind = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "string": _Kind.TYPE_STRING,
    "int64": _Kind.TYPE_INT64,
    "int32": _Kind.TYPE_INT32,
    "bool": _Kind.TYPE_BOOL,
    "double": _Kind.TYPE_DOUBLE,
    "uint64": _Kind.TYPE_UINT64,
    "bytes": _Kind.TYPE_BYTES,
}
_MESSAGES: Final[dict[str, dict[int, tuple[str, str]]]] = {
    "Expr": {
        2: ("id", "int64"),
        3: ("const_expr", "Const|"),
        4: ("ident_expr", "Ident|"),
        5: ("select_expr", "Select|"),
        6: ("call_expr", "Call|"),
        7: ("list_expr", "List|"),
        8: ("struct_expr", "Struct|"),
        9: ("comprehension_expr", "Comprehension|"),
    },
    "Const": {
        1: ("null_value", "int32|"),
        2: ("bool_value", "bool|"),
        3: ("int64_value", "int64|"),
        4: ("uint64_value", "uint64|"),
        5: ("double_value", "double|"),
        6: ("string_value", "string|"),
        7: ("bytes_value", "bytes|"),
    },
    "Ident": {1: ("name", "string")},
    "Select": {1: ("operand", "Expr"), 2: ("field", "string"), 3: ("test_only", "bool")},
    "Call": {1: ("target", "Expr"), 2: ("function", "string"), 3: ("args", "Expr*")},
    "List": {1: ("elements", "Expr*")},
    "Entry": {1: ("id", "int64"), 2: ("field_key", "string"), 3: ("map_key", "Expr"), 4: ("value", "Expr")},
    "Struct": {1: ("message_name", "string"), 2: ("entries", "Entry*")},
    "Comprehension": {
        1: ("iter_var", "string"),
        2: ("iter_range", "Expr"),
        3: ("accu_var", "string"),
        4: ("accu_init", "Expr"),
        5: ("loop_condition", "Expr"),
        6: ("loop_step", "Expr"),
        7: ("result", "Expr"),
        8: ("iter_var2", "string"),
    },
    "MapType": {},
    "Type": {7: ("map_type", "MapType")},
    "TypeMapEntry": {1: ("key", "int64"), 2: ("value", "Type")},
    "Checked": {3: ("type_map", "TypeMapEntry*"), 4: ("expr", "Expr")},
}
"""The parts of ``cel/expr/checked.proto`` and ``syntax.proto`` that are read. ``|`` marks a member of the one-of."""


def _checked_message() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="topstitch_cel_ast.proto", package="celast", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if any(kind.endswith("|") for _, kind in fields.values()):
            message.oneof_decl.add(name="kind")
        for number, (field_name, kind) in fields.items():
            field = message.field.add(name=field_name, number=number)
            field.label = _Kind.LABEL_REPEATED if kind.endswith("*") else _Kind.LABEL_OPTIONAL
            base = kind.rstrip("*|")
            if kind.endswith("|"):
                field.oneof_index = 0
            if base in _SCALARS:
                field.type = _SCALARS[base]
            else:
                field.type, field.type_name = _Kind.TYPE_MESSAGE, f".celast.{base}"
    # A protobuf map is a repeated nested entry; it has to be nested in the message that holds it.
    entry = next(message for message in file.message_type if message.name == "TypeMapEntry")
    checked = next(message for message in file.message_type if message.name == "Checked")
    checked.nested_type.add().CopyFrom(entry)
    checked.nested_type[0].options.map_entry = True
    checked.field[0].type_name = ".celast.Checked.TypeMapEntry"
    file.message_type.remove(entry)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("celast.Checked"))


_CHECKED: Final = _checked_message()
