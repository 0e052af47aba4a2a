"""Decides how the CEL runtime is asked, and says in our words what it answers.

The only file that imports the runtime. ``environment`` makes one for given names and
types, ``compile_source`` compiles within our limits, ``explain`` turns the runtime's error
text into a sentence that never holds data. ``expressions`` evaluates with it, ``check``
types with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from cel_expr_python import cel as runtime
from cel_expr_python.ext import ext_math, ext_optional, ext_strings

from topstitch.foundation.errors import AuthorError
from topstitch.language.cel_ast import Syntax, analyse
from topstitch.language.functions import MARK, MONEY_COMPARISONS, TEXT_FUNCTIONS, date_add_business_days

Type: TypeAlias = runtime.Type
SOURCE_LENGTH_MAX: Final = 4_000
"""Characters of one expression."""
GROWTH_MAX: Final = 20_000_000
"""Characters that the result of one expression may grow to, by estimate."""
MONEY_TYPE: Final = "topstitch.Money"
"""The name of the message that stands for an amount of money while types are checked."""
ENGINE: Final = "cel-expr 0.1.3"


class ExpressionError(AuthorError):
    """An expression cannot be compiled or evaluated. ``line`` and ``column`` are places in its source."""

    def __init__(
        self,
        message: str,
        *,
        source: str = "",
        line: int = 1,
        column: int = 1,
        length: int = 1,
        remedy: str | None = None,
        absent: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(
            "expression", message if remedy is None else f"{message}; {remedy}", detail={"expression": source}
        )
        self.sentence, self.help = message, remedy
        self.line, self.column, self.length = line, column, length
        self.absent = absent
        """The record type and the field it lacks, when that is the error."""


def environment(variables: Mapping[str, Type], *, pool: Any = None, typed_money: bool = False) -> runtime.Env:
    """Return an environment that knows ``variables``, the extensions and our functions."""
    return runtime.NewEnv(
        descriptor_pool=pool,
        variables=dict(variables),
        extensions=_EXTENSIONS,
        functions=_TYPED_FUNCTIONS if typed_money else _FUNCTIONS,
    )


def compile_source(env: runtime.Env, source: str) -> tuple[runtime.Expression, Syntax]:
    """Compile within our limits and analyse; raise ``ExpressionError`` with the place of the first error."""
    if not source.strip():
        raise ExpressionError("the expression is empty", source=source, remedy="write one, or leave the field out")
    if len(source) > SOURCE_LENGTH_MAX:
        raise ExpressionError(
            f"the expression has more than {SOURCE_LENGTH_MAX} characters",
            source=source[:100],
            remedy="move the decision into a connector action, or split it",
        )
    try:
        program = env.compile(source)
    except (RuntimeError, UnicodeError, TypeError) as failure:  # TypeError: half a surrogate pair
        raise _compile_error(source, str(failure)) from None
    syntax = analyse(program.serialize())
    if syntax.growth > GROWTH_MAX:
        raise ExpressionError(
            "the result could grow without a sensible limit", source=source, remedy="build less text in one expression"
        )
    return program, syntax


def explain(source: str, text: str) -> ExpressionError:
    """Return the error for what an evaluation answered; nothing of the facts is taken over."""
    if MARK in text:
        sentence, _, remedy = text.split(MARK, 1)[1].partition("; ")
        return ExpressionError(
            f"{_quote(source)} cannot be evaluated: {sentence}", source=source, remedy=remedy or None
        )
    for pattern, sentence, remedy in _EVALUATION:
        if found := re.search(pattern, text):
            name = found.groupdict().get("name")
            if name and not re.search(rf"\b{re.escape(name)}\b", source):
                name = None  # came from the facts, not from the author
            said = sentence.format(name=f"'{name}'" if name else "a field it reads")
            return ExpressionError(f"{_quote(source)} cannot be evaluated: {said}", source=source, remedy=remedy)
    return ExpressionError(
        f"{_quote(source)} cannot be evaluated", source=source, remedy="check the types of what it reads"
    )


def _quote(source: str) -> str:
    flat = " ".join(source.split())
    return f"'{flat}'" if len(flat) <= 120 else f"'{flat[:117]}...'"


_ABSENT: Final = "read it with '.?' or guard it with has(...)"
_TYPES: Final = "check the types of what it reads"
_EVALUATION: Final = (
    (r'No value with name "(?P<name>[^"]*)" found', "{name} is not in scope here", "use a name that is in scope"),
    (r'Key not found in map : "(?P<name>[^"]*)"', "{name} is absent", _ABSENT),
    (r"no such field|no_such_field|NOT_FOUND", "a field it reads is absent", _ABSENT),
    (r"divi(de|sion) by zero|modulus by zero", "it divides by zero", "guard the division with a condition"),
    (r"overflow", "a number is too large", "use smaller numbers"),
    (r"Index error|out of (bounds|range)", "an index is outside of the list or text", "test size() first"),
    (r"(?i)budget exceeded|iteration", "it takes more than 10,000 steps", "go over shorter lists"),
    (r"(?i)invalid regular expression|regex", "matches() was given no regular expression", "correct the pattern"),
    (r"(?i)no.matching.overload|no such overload", "an operator or function was given a value of another type", _TYPES),
    (r"recursion", "the data is nested too deeply", "read a flatter value"),
    (
        r"Non-CEL value|Unexpected value type|construction from null|Unable to convert",
        "a value is not plain JSON data",
        "compare or convert it to text, number, true/false, list or map",
    ),
)
"""What the runtime says, what we say, and the remedy. Order matters: the first that matches."""


def _compile_error(source: str, text: str) -> ExpressionError:
    """Translate the first error of a compilation; the others are mostly its consequences."""
    if "recursion" in text:
        return ExpressionError(
            "the expression is nested too deeply", source=source, remedy="split it: 32 levels is the limit"
        )
    found = re.search(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)", text)
    if found is None:
        return ExpressionError("this is not an expression", source=source, remedy="see the reference of expressions")
    line, column, said = (
        max(1, int(found[1])),
        max(1, int(found[2])),
        found[3].removesuffix("[INVALID_ARGUMENT]").strip(),
    )
    rows = source.split("\n")
    row = rows[line - 1] if line <= len(rows) else ""
    column, length, sentence, remedy = _translate(row, column, said)
    lacks = re.match(r"undefined field '([^']*)' not found in struct '([^']*)'", said)
    absent = (lacks[2], lacks[1]) if lacks else None
    return ExpressionError(
        sentence, source=source, line=line, column=column, length=length, remedy=remedy, absent=absent
    )


def _translate(row: str, column: int, said: str) -> tuple[int, int, str, str | None]:
    if found := re.match(r"undeclared reference to '([^']*)'", said):
        return _undeclared(row, column, found[1])
    if found := re.match(r"undefined field '([^']*)'", said):
        return column, len(found[1]) + 1, f"'{found[1]}' does not exist here", None
    if found := re.match(r"found no matching overload for '([^']*)' applied to '([^']*)'", said):
        sentence, remedy = _overload(found[1], found[2])
        return (
            column,
            max(1, len(_operator(found[1])) if found[1].startswith(("_", "!", "-", "@")) else 1),
            sentence,
            remedy,
        )
    if found := re.match(r"expression of type '([^']*)' cannot be the operand of a select", said):
        return column, 1, f"{plain_type(found[1])} has no fields", None
    if found := re.match(r"expression of type '([^']*)' cannot be the range", said):
        return column, 1, f"{plain_type(found[1])} is no list to go over", None
    if said.startswith("Syntax error"):
        return _syntax_error(row, column, said)
    if found := re.match(r"expected type '([^']*)' but found '([^']*)'", said):
        return column, 1, f"wants {plain_type(found[1])}; this is {plain_type(found[2])}", None
    return column, 1, said, None


def _undeclared(row: str, column: int, name: str) -> tuple[int, int, str, str | None]:
    root = name.split(".", maxsplit=1)[0]
    start = column - 1
    if row[start : start + 1] == "(":
        begin = start - len(root)
        return begin + 1, len(root), f"there is no function '{root}'", None
    if row[start : start + 1] == "." and row[start - len(root) : start] == root:
        start -= len(root)
    if root in ("now", "today"):
        return start + 1, len(root), f"'{root}' does not exist here", "there is no clock: use process.started_at"
    return start + 1, len(root), f"'{root}' does not exist here", None


_OPERATORS: Final = {"@in": "in", "_?_:_": "? :", "_[_]": "[]", "!_": "!", "-_": "-"}


def _operator(name: str) -> str:
    return _OPERATORS.get(name, name.strip("_"))


def _overload(function: str, arguments: str) -> tuple[str, str | None]:
    operands = _split_types(arguments[1:-1] if arguments.startswith("(") else arguments)
    name = _operator(function)
    if MONEY_TYPE in operands and function in ("_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_"):
        return (
            "money cannot be compared with " + name,
            'compare money with under("2500 USD"), over(...) or at_most(...)',
        )
    words = [plain_type(operand) for operand in operands]
    if function in MONEY_COMPARISONS:
        return (
            f"{function}() compares money with money; this is {' and '.join(words)}",
            'write the limit as text: "2500 USD"',
        )
    if function == "_?_:_":
        return f"the two branches of ? : differ: {words[1]} and {words[2]}" if words[:1] == [plain_type("bool")] else (
            f"the question before ? must be true or false; this is {words[0]}"
        ), None
    remedy = "put the value in quotes to compare it as text" if words == ["text", "a whole number"] else None
    return f"'{name}' does not go with {' and '.join(words)}", remedy


def _split_types(text: str) -> list[str]:
    """Split ``a, map(b, c)`` at the commas that are not inside."""
    parts, depth, current = [], 0, ""
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [*parts, current.strip()]


def plain_type(name: str) -> str:
    """Say a CEL type in an author's words."""
    lower = name.lower()
    for start, words in _TYPE_WORDS:
        if lower.startswith(start):
            inner = re.match(r"[a-z_]+[(<](.*)[)>]$", name, re.IGNORECASE)
            return words.format(plain_type(inner[1]) if inner and "{}" in words else "anything")
    return "a record"


_TYPE_WORDS: Final = (
    ("string", "text"), ("bool", "true or false"), ("int", "a whole number"), ("uint", "a whole number"),
    ("double", "a number"), ("list", "a list of {}"), ("map", "a map"), ("topstitch.money", "money"),
    ("optional", "possibly absent {}"), ("null", "null"), ("dyn", "anything"), ("timestamp", "a time"),
    ("google.protobuf.timestamp", "a time"), ("google.protobuf.duration", "a duration"), ("duration", "a duration"),
    ("bytes", "bytes"), ("type", "a type"),
)  # fmt: skip


def _syntax_error(row: str, column: int, said: str) -> tuple[int, int, str, str | None]:
    rest = row[column - 1 :]
    before = row[: column - 1].rstrip()
    word = re.match(r"\w+", rest)
    if word and word[0].lower() in _WORDS:
        return column, len(word[0]), f"'{word[0]}' is not an operator", f"write {_WORDS[word[0].lower()]}"
    if (rest.startswith("=") or "'='" in said) and not rest.startswith("=="):
        return column, 1, "'=' does not compare", "write =="
    if not rest.strip():
        return (
            column,
            1,
            "the expression is cut off here",
            "complete it; in YAML, put an expression that holds # or : in quotes",
        )
    if rest[:1] in "\u201c\u201d\u201e\u2018\u2019":
        return (
            column,
            1,
            f"'{rest[0]}' is no quotation mark of an expression",
            "type \" or '; copied text brings others",
        )
    if before.endswith("'") or rest.startswith("'"):
        return column, 1, "this is not an expression", "close the quotes and write an operator between two values"
    return column, 1, "this is not an expression", None


_WORDS: Final = {"and": "&&", "or": "||", "not": "!", "is": "==", "equals": "==", "contains": ".contains(...)"}


def _functions(money: Iterable[Type], limits: Iterable[Type]) -> list[runtime.FunctionDecl]:
    string = Type.STRING
    declared = [
        runtime.FunctionDecl(
            name,
            [
                runtime.Overload(
                    f"{name}_{a.name()}_{b.name()}",
                    return_type=Type.BOOL,
                    parameters=[a, b],
                    is_member=True,
                    impl=compare,
                )
                for a in money
                for b in limits
            ],
        )
        for name, compare in MONEY_COMPARISONS.items()
    ]
    declared += [
        runtime.FunctionDecl(
            name, [runtime.Overload(f"{name}_text", return_type=string, parameters=[string], impl=impl)]
        )
        for name, impl in TEXT_FUNCTIONS.items()
    ]
    days = [
        runtime.Overload(
            f"business_days_{len(parameters)}", return_type=string, parameters=parameters, impl=date_add_business_days
        )
        for parameters in ([string, Type.INT], [string, Type.INT, Type.List(string)])
    ]
    return [*declared, runtime.FunctionDecl("date_add_business_days", days)]


_EXTENSIONS: Final = [ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_math.ExtMath()]
_FUNCTIONS: Final = _functions([Type.STRING], [Type.STRING])
_TYPED_FUNCTIONS: Final = _functions([Type(MONEY_TYPE)], [Type.STRING, Type(MONEY_TYPE)])
