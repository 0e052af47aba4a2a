"""What expressions are worth, how they fail, and that they stay within bounds."""

from __future__ import annotations

import contextlib
import gc
from typing import Any

import pytest
from hypothesis import given, strategies as st

from topstitch.language import expressions
from topstitch.language.expressions import (
    ABSENT,
    Expression,
    ExpressionError,
    Facts,
    compile_template,
    runtime_expression,
)

SECRET = "Priya-Raman-7731"
FACTS = {
    "trigger": {
        "name": SECRET,
        "count": 3,
        "groups": ["b", "a"],
        "money": "2600.00 USD",
        "z": {"y": 1, "b": {"d": 2, "c": 3}},
    },
    "context": {"profile": {"active": True, "quota_carrying": False}},
    "steps": {"identity": {"status": "done", "output": {"user_id": "u1"}}},
    "flags": {"late": False},
    "step": {},
}


def value(source: str, facts: dict[str, Any] | None = None, rates: dict[str, str] | None = None) -> Any:
    return runtime_expression(source).evaluate(Facts(facts or FACTS, rates or {}))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("trigger.count + 1", 4),
        ("trigger.count < 3.5", True),
        ("steps.identity.output.user_id", "u1"),
        ("trigger.groups.all(g, g in ['a', 'b'])", True),
        ("trigger.groups.map(g, g + '!')", ["b!", "a!"]),
        ("has(context.profile.quota)", False),
        ("context.profile.?quota.orValue('none')", "none"),
        ("context.profile.?quota", None),
        ("'ABC'.lowerAscii() + '-' + slug('Zoë Müller')", "abc-zoe-muller"),
        ("mask(trigger.name)", "P***"),
        ("date_add_business_days('2026-11-20', 1)", "2026-11-23"),
        ("date_add_business_days('2026-11-23', -1)", "2026-11-20"),
        ("date_add_business_days('2026-11-20', 1, ['2026-11-23'])", "2026-11-24"),
        ("math.greatest(1, 2)", 2),
        ("timestamp('2026-01-01T00:00:00Z')", "2026-01-01T00:00:00.000Z"),
        ("null", None),
    ],
)
def test_what_an_expression_is_worth(source: str, expected: object) -> None:
    assert value(source) == expected


@pytest.mark.parametrize(
    ("amount", "under", "over", "at_most"),
    [("2499.99 USD", True, False, True), ("2500.00 USD", False, False, True), ("2500.01 USD", False, True, False)],
)
def test_A03_the_boundary_of_money(amount: str, under: bool, over: bool, at_most: bool) -> None:
    facts = {"trigger": {"money": amount}}
    assert value('trigger.money.under("2500 USD")', facts) is under
    assert value('trigger.money.over("2500 USD")', facts) is over
    assert value('trigger.money.at_most("2500 USD")', facts) is at_most


def test_A03_another_currency_compares_through_a_recorded_rate_only() -> None:
    facts = {"trigger": {"money": "2300.00 EUR"}}
    assert value('trigger.money.under("2500 USD")', facts, {"EUR/USD": "1.08"}) is True
    assert value('trigger.money.under("2500 USD")', facts, {"EUR/USD": "1.10"}) is False
    with pytest.raises(ExpressionError, match="no rate for EUR/USD is recorded; add it under"):
        value('trigger.money.under("2500 USD")', facts)


def test_maps_come_back_with_sorted_keys() -> None:
    found = value("trigger.z")
    assert list(found) == ["b", "y"]
    assert list(found["b"]) == ["c", "d"]
    assert list(value("{'z': 1, 'a': 2, 'm': 3}")) == ["a", "m", "z"]


def test_the_paths_are_what_is_read() -> None:
    expression = runtime_expression(
        "context.profile.?quota.hasValue() && trigger.groups.exists(g, g == trigger['name'])"
    )
    assert expression.paths == {"context.profile.quota", "trigger.groups", "trigger.name"}


@pytest.mark.parametrize(
    "source",
    [
        "trigger.missing",
        "trigger[trigger.name]",
        "trigger.name < 2",
        "int(trigger.name)",
        "timestamp(trigger.name)",
        "trigger.groups[7]",
        "trigger.name.under('2500 USD')",
        "date_add_business_days(trigger.name, 1)",
        "trigger.name.matches('(')",
        "trigger.name.charAt(99)",
        "{trigger.name: 1}[trigger.name + 'x']",
        "found.x",
        "1 / 0",
        "9223372036854775807 + trigger.count",
        "1.0 / 0.0",
        "b'abc'",
        "{1: 2}",
        "type(1)",
        "dyn(trigger.?name)",
    ],
)
def test_an_evaluation_error_raises_and_tells_nothing_of_the_facts(source: str) -> None:
    with pytest.raises(ExpressionError) as failure:
        value(source)
    assert failure.value.code == "expression"
    assert SECRET not in failure.value.message
    assert SECRET not in str(failure.value.detail)
    assert ";" in failure.value.message


@pytest.mark.parametrize("bad", [2**70, (1,), {1: 2}, object(), "\ud800"])
def test_facts_that_are_not_json_give_a_clean_error(bad: object) -> None:
    with pytest.raises(ExpressionError):
        value("trigger.a", {"trigger": {"a": bad}})


def test_deep_facts_give_a_clean_error_or_a_value() -> None:
    deep: dict[str, Any] = {}
    for _ in range(3000):
        deep = {"a": deep}
    with pytest.raises(ExpressionError):
        value("trigger", {"trigger": deep})


@pytest.mark.parametrize(
    ("source", "column", "message"),
    [
        ("contxt.a", 1, "'contxt' does not exist here"),
        ("trigger.a = 1", 11, "'=' does not compare; write =="),
        ("trigger.a and true", 11, "'and' is not an operator; write &&"),
        ("trigger.a.foo()", 11, "there is no function 'foo'"),
        ("now()", 1, "there is no function 'now'"),
        ("trigger.a +", 12, "the expression is cut off here"),
        ("", 1, "the expression is empty"),
    ],
)
def test_a_compile_error_has_its_place(source: str, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as failure:
        runtime_expression(source)
    assert failure.value.column == column
    assert failure.value.message.startswith(message)


TEN = "[0,1,2,3,4,5,6,7,8,9]"


@pytest.mark.parametrize(
    "source",
    [
        "1" + "+1" * 40,
        "1" + "+1" * 20_000,
        "(" * 2_000 + "1" + ")" * 2_000,
        "trigger" + ".a" * 60,
        "'a'" + ".replace('a', 'aaaaaaaaaa')" * 9,
        "trigger.name.replace('a', trigger.name)",
        f"[trigger.name].map(a, [{'+'.join('a' * 28)}].map(b, [{'+'.join('b' * 28)}].map(c, {'+'.join('c' * 28)})))",
        "x" * 5_000,
        "\ud800",
        "\0",
    ],
    ids=range(10),
)
def test_what_could_grow_without_limit_is_refused_before_anything_runs(source: str) -> None:
    with pytest.raises(ExpressionError):
        runtime_expression(source)


@pytest.mark.parametrize(
    "source",
    [
        f"{TEN}.map(a, {TEN}.map(b, {TEN}.map(c, {TEN}.map(d, {TEN}.map(e, 1)))))",
        "'%.999999999f'.format([1.0])",
        "'a'.matches('((((a{100}){100}){100}){100})')",
        "date_add_business_days('2026-01-01', 9999999)",
    ],
    ids=range(4),
)
def test_what_only_running_shows_to_be_too_much_ends_in_a_clean_error(source: str) -> None:
    expression = runtime_expression(source)
    with pytest.raises(ExpressionError):
        expression.evaluate(Facts(FACTS))


@given(st.text(alphabet=st.sampled_from(list("abtrigger.name()[]{}'\"+-*/?:&|!=<>,0123456789 \\")), max_size=40))
def test_no_source_raises_anything_else(source: str) -> None:
    with contextlib.suppress(ExpressionError):
        value(source)


class Counted:
    """The runtime, with a count of how often facts were handed to it: that costs more than most expressions."""

    def __init__(self, runtime: Any) -> None:
        self._runtime, self.handed = runtime, 0

    def Activation(self, values: Any) -> Any:
        self.handed += 1
        return self._runtime.Activation(values)


def test_many_evaluations_hand_their_facts_over_once_and_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long one takes, ``topstitch bench --trust`` prints."""
    conditions = [runtime_expression(f"trigger.count + {number} < 7 && trigger.name != 'x'") for number in range(5)]
    counted = Counted(expressions._RUNTIME)
    monkeypatch.setattr(expressions, "_RUNTIME", counted)

    def decide() -> None:
        facts = Facts(FACTS)
        for condition in conditions:
            condition.evaluate(facts)

    decide()
    assert counted.handed == 1
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(200):
        decide()
    gc.collect()
    assert len(gc.get_objects()) - before < 50


def test_a_path_and_its_comparison_with_a_text_need_no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(expressions._RUNTIME)
    shortest = [runtime_expression(source) for source in ("trigger.count", "steps.identity.status == 'done'")]
    monkeypatch.setattr(expressions, "_RUNTIME", counted)
    assert [one.evaluate(Facts(FACTS)) for one in shortest] == [3, True]
    assert counted.handed == 0


def test_conditions_must_be_true_or_false() -> None:
    assert Expression("trigger.count == 3").holds(Facts(FACTS)) is True
    with pytest.raises(ExpressionError, match="neither true nor false"):
        Expression("trigger.count").holds(Facts(FACTS))


# -- templates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("= trigger.count", 3),
        ("${trigger.count} of ${trigger.groups.size()}", "3 of 2"),
        ("== x", "= x"),
        ("==${trigger.count}", "=3"),
        ("$${x} ${trigger.count}", "${x} 3"),
        ("plain $ { } text", "plain $ { } text"),
        ("${ {'a}': 1}.size() }", "1"),
        ("${trigger.count == 3}", "true"),
        (["= trigger.count", "x", True, None, 5], [3, "x", True, None, 5]),
        ({"q": "= context.profile.?quota", "b": {"c": "= context.profile.?quota"}, "a": 1}, {"a": 1, "b": {}}),
        (["= context.profile.?quota", 1], [1]),
        ("= trigger.z", {"b": {"c": 3, "d": 2}, "y": 1}),
    ],
)
def test_what_a_template_gives(template: object, expected: object) -> None:
    assert compile_template(template).render(Facts(FACTS)) == expected


def test_a_template_knows_what_it_reads() -> None:
    template = compile_template({"a": "= trigger.count", "b": ["${trigger.name}!"]})
    assert template.paths == {"trigger.count", "trigger.name"}
    assert [expression.source for expression in template.expressions] == ["trigger.count", "trigger.name"]


def test_text_from_outside_never_becomes_structure_or_expression() -> None:
    facts = {"trigger": {"name": "= 1 + 1 ${trigger.count} {a: b}"}}
    template = compile_template({"a": "= trigger.name", "b": "${trigger.name}"})
    assert template.render(Facts(facts)) == {"a": facts["trigger"]["name"], "b": facts["trigger"]["name"]}


@pytest.mark.parametrize("template", ["${trigger.groups}", "${context.profile.?quota}", "${trigger.z}", "${null}"])
def test_what_is_no_text_cannot_stand_in_one(template: str) -> None:
    with pytest.raises(ExpressionError, match="cannot stand in a text"):
        compile_template(template).render(Facts(FACTS))


def test_an_interpolation_that_is_never_closed_is_an_error() -> None:
    with pytest.raises(ExpressionError, match="never closed"):
        compile_template("a ${trigger.x")


SCALARS = st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_escaped_data_renders_as_itself(data: Any) -> None:
    def escaped(item: Any) -> Any:
        if isinstance(item, str):
            text = item.replace("$${", "").replace("${", "")
            return ("=" + text if text.startswith("=") else text), text
        if isinstance(item, list):
            pairs = [escaped(each) for each in item]
            return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        if isinstance(item, dict):
            pairs = {key: escaped(each) for key, each in item.items()}
            return {key: pair[0] for key, pair in pairs.items()}, {key: pair[1] for key, pair in pairs.items()}
        return item, item

    template, plain = escaped(data)
    assert compile_template(template).render(Facts({})) == plain


SHORT = ["trigger.a", "trigger.a.b", "found.a", 'trigger.a == "x"', "trigger.a.b != 'x y'", 'found.a == "x"']
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["x", "x y"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)


@given(
    source=st.sampled_from(SHORT),
    trigger=st.dictionaries(st.sampled_from(["a", "b"]), JSON, max_size=2),
    found=JSON,
)
def test_what_is_evaluated_without_the_runtime_is_what_the_runtime_gives(
    source: str, trigger: dict[str, Any], found: Any
):
    expression = Expression(source)
    assert expression._short is not None
    facts = Facts({"trigger": trigger, "found": found})
    quick = expression._short(facts.values)
    if quick is not ABSENT:
        expression._short = None
        slow = expression.evaluate_or_absent(facts)
        assert (type(quick), quick) == (type(slow), slow)


@pytest.mark.parametrize(
    "source", ["trigger.?a", "has(trigger.a)", "trigger.a + 'x'", "trigger", 'trigger.a == "\\n"', "flags.a == flags.b"]
)
def test_what_is_more_than_a_path_is_left_to_the_runtime(source: str):
    assert Expression(source)._short is None


def test_plain_paths_and_comparisons_do_without_the_runtime():
    facts = Facts({"trigger": {"a": "x", "n": 3, "t": True}})
    found = [runtime_expression(f"trigger.{rest}").evaluate(facts) for rest in ("a", "n", "t", 'a == "x"', 'a != "x"')]
    assert found == ["x", 3, True, True, False]
    assert facts._activation is None, "the runtime was not asked"
