"""Bundles: what is refused and where, the normal form, and that a rule can only tighten."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from topstitch.foundation.errors import AuthorError, OperatorError
from topstitch.governance.bundle import BATCH_MAX, Asking, Bundle, Rule, bundle_from_normal
from topstitch.governance.bundle_files import load_bundle, read_bundle
from topstitch.governance.facts import is_told, kept, rebuilt, split
from topstitch.governance.obligations import Level
from topstitch.governance.policy import assumed, run_tests
from topstitch.language.expressions import ExpressionError, Facts, runtime_expression

HEAD = """\
policy: small
version: 1.0.0
owner: {team: internal-controls}
defaults: {tier_1: auto, tier_2: auto, tier_3: notify(owner), tier_4: approve(owner)}
tests: [{given: {}, then: auto}]
"""


def findings(text: str, head: str = HEAD) -> list[str]:
    bundle, found = read_bundle({"a.yaml": head, "b.yaml": text})
    assert bundle is None
    return [
        f"{document.path}:{f.span.line}:{f.span.column} {f.message}" + (f"; {f.help}" if f.help else "")
        for document, some in found
        for f in some
    ]


def test_a_bundle_may_be_one_file_or_many_and_is_the_same_one() -> None:
    soft = "soft: [{id: a, when: step.risk == 4, approve: {from: owner}}]\n"
    hard = "hard: [{id: b, when: calendar.freeze, deny: No}]\n"
    one = load_bundle({"all.yaml": HEAD + "# said so\n" + soft + hard})
    two = load_bundle({"z.yaml": HEAD, "a.yaml": hard, "b.yaml": soft})
    assert one.digest == two.digest
    assert one.digest.startswith("sha256:")
    assert load_bundle({"x.yaml": HEAD}).digest != one.digest


def test_the_normal_form_gives_the_bundle_back_and_an_unknown_format_is_refused() -> None:
    bundle = load_bundle({"a.yaml": HEAD + "asking: {hours: business, give_up: 8h, refused: continue}\n"})
    again = bundle_from_normal(bundle.normal())
    assert again == bundle
    assert again.digest == bundle.digest
    assert again.asking == Asking(give_up_seconds=28800, refused="continue", business_hours=True)
    with pytest.raises(OperatorError, match="format 9"):
        bundle_from_normal({**bundle.normal(), "format": 9})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("soft: [{id: a, when: step.acton == 'x', approve: {from: owner}}]", "b.yaml:1:26 'acton' does not exist here"),
        ("soft: [{id: a, when: step.risk == 'x', approve: {from: owner}}]", "does not go with a whole number and text"),
        ("soft: [{id: a, when: step.risk, approve: {from: owner}}]", "neither true nor false; write a comparison"),
        ("soft: [{id: a, when: context == trigger, approve: {from: owner}}]", "is read as a whole"),
        ("soft: [{id: a, when: true, approve: {from: requester}}]", "never decides what was asked for"),
        ("soft: [{id: a, when: true, approve: {from: owner, quorum: 9}}]", "cannot be met; write 1 to 5"),
        ("soft: [{id: a, when: true, approve: {who: owner}}]", "'approve' wants from"),
        ("soft: [{id: a, when: true}]", "'approve' is missing; a rule demands one thing"),
        ("soft: [{id: a, when: true, deny: No}]", "there is no field 'deny' here; a soft rule asks or tells"),
        ("hard: [{id: a, when: true, approve: {from: owner}}]", "a hard rule denies; what people may release is soft"),
        ("hard: [{id: a, when: true, deny: ''}]", "'deny' says why"),
        ("hard: [{id: a, when: true, deny: 'Until ${calendar.freze}'}]", "'freze' does not exist here"),
        ("soft: [{when: true, notify: owner}]", "'id' is missing; name the rule"),
        ("soft: [{id: a, when: true, notify: owner}, {id: a, when: true, notify: owner}]", "a rule 'a' already"),
        ("soft: [{id: tier-3, when: true, notify: owner}]", "a rule 'tier-3' already"),
        ("soft: {id: a}", "'soft' wants a list"),
        ("softt: []", "there is no section 'softt'; did you mean 'soft'?"),
        ("policy: again", "'policy' stands in a.yaml already"),
        ("asking: {remind: soon}", "'remind' does not fit"),
        ("asking: {remid: 4h}", "there is no field 'remid' here; did you mean 'remind'?"),
        ("asking: {refused: never}", "write continue, rollback or stop"),
        ("tests: [{given: {stp: {}}, then: auto}]", "there is no fact 'stp'; did you mean 'step'?"),
        ("tests: [{given: {}, then: maybe}]", "is no obligation"),
        ("tests: [{given: {}}]", "a test has 'given', 'then'"),
        ("soft: [{id: a, id: b}]", "'id' is given twice"),
        ("[]", "a mapping of sections"),
    ],
)
def test_what_is_no_bundle_is_named_with_its_place(text: str, said: str) -> None:
    found = findings(text)
    assert any(said in one for one in found), found


def test_a_bundle_without_tests_is_refused_and_so_is_one_that_lacks_a_tier() -> None:
    assert any("a bundle without tests is refused" in one for one in findings("", HEAD.split("tests:", maxsplit=1)[0]))
    assert any(
        "the bundle has no tests" in one for one in findings("", HEAD.replace("[{given: {}, then: auto}]", "[]"))
    )
    assert any("'tier_4' is missing" in one for one in findings("", HEAD.replace(", tier_4: approve(owner)", "")))
    assert read_bundle({})[0] is None
    with pytest.raises(AuthorError, match=r"b.yaml:1:1: there is no section 'x'"):
        load_bundle({"a.yaml": HEAD, "b.yaml": "x: 1"})


def test_a_bundles_own_tests_run_and_say_what_they_got() -> None:
    text = HEAD.replace(
        "[{given: {}, then: auto}]", "[{given: {}, then: auto}, {given: {step: {risk: 4}}, then: auto}]"
    )
    passed, failed = run_tests(load_bundle({"a.yaml": text}))
    assert passed.passed
    assert (failed.passed, failed.expected, failed.got, failed.rules) == (False, "auto", "approve(owner)", ("tier-4",))


def bundle(*rules: Rule, **more: Any) -> Bundle:
    defaults = more.pop("defaults", {1: "auto", 2: "auto", 3: "notify(owner)", 4: "approve(owner)"})
    return Bundle(
        name="b",
        version="1.0.0",
        owner="o",
        rules=rules,
        defaults=defaults,
        asking=Asking(),
        tests=({"given": {}, "then": "auto"},),
    )


CONDITIONS = [
    "true",
    "false",
    "step.risk >= 3",
    'env == "prod"',
    "context.profile.elevated",
    '!context.quote.total.under("2500 USD")',
    "has(context.profile.quota)",
    'step.input.note == "approve everything"',
    'context.profile.groups.exists(g, g == "admins")',
    'actor.kind == "agent"',
]
DEMANDS: list[dict[str, Any]] = [
    {"notify": "owner"},
    {"approve": {"from": "owner"}},
    {"approve": {"from": "manager_of(subject)", "quorum": 2}},
    {"approve": {"from": ["group:a", "owner"], "evidence": "ticket"}},
]
rule_parts = st.tuples(st.sampled_from(CONDITIONS), st.sampled_from(DEMANDS), st.booleans())


def made(parts: list[tuple[str, dict[str, Any], bool]]) -> list[Rule]:
    return [
        Rule(id=f"r{n}", when=when, hard=hard, demand={"deny": "no"} if hard else demand)
        for n, (when, demand, hard) in enumerate(parts)
    ]


profiles = st.fixed_dictionaries(
    {},
    optional={
        "elevated": st.booleans(),
        "quota": st.just("5 USD"),
        "groups": st.lists(st.sampled_from(["admins", "staff"]), max_size=2),
    },
)
contexts = st.fixed_dictionaries(
    {},
    optional={
        "profile": st.one_of(profiles, st.just("text"), st.none()),
        "quote": st.sampled_from([{}, {"total": "2500 USD"}, {"total": "1 USD"}, {"total": "x"}]),
    },
)
scopes = st.builds(
    lambda risk, context, note, env: assumed(
        {"step": {"risk": risk, "input": {"note": note}}, "context": context, "env": env}
    ),
    st.integers(0, 5),
    contexts,
    st.sampled_from(["", "approve everything"]),
    st.sampled_from(["prod", "test"]),
)


@given(st.lists(rule_parts, max_size=6), st.lists(rule_parts, max_size=3), scopes, st.randoms(use_true_random=False))
def test_adding_any_rule_never_weakens_any_decision(
    some: list[Any], more: list[Any], scope: dict[str, Any], chance: Any
) -> None:
    rules = made([*some, *more])
    before = bundle(*rules[: len(some)]).decide(scope).ruling
    chance.shuffle(rules)
    after = bundle(*rules).decide(scope).ruling
    assert after.allows(before)
    assert after.level >= before.level


@given(st.lists(rule_parts, max_size=5), scopes)
def test_hard_and_soft_parts_join_to_the_whole(parts: list[Any], scope: dict[str, Any]) -> None:
    whole = bundle(*made(parts))
    apart = whole.decide(scope, soft=False).join(whole.decide(scope, hard=False))
    assert apart.ruling == whole.decide(scope).ruling
    assert dict(apart.facts) == dict(whole.decide(scope).facts)


@given(st.lists(rule_parts, min_size=1, max_size=5), scopes)
def test_the_facts_that_were_kept_give_the_same_decision_again(parts: list[Any], scope: dict[str, Any]) -> None:
    one = bundle(*made(parts))
    verdict = one.decide(scope)
    again = one.decide(rebuilt(verdict.facts))
    assert again.ruling == verdict.ruling
    assert [reason.rule for reason in again.reasons] == [reason.rule for reason in verdict.reasons]
    assert all(is_told(path, verdict.facts, verdict.absent) for path in one.paths)


@given(st.lists(rule_parts, max_size=5), scopes)
def test_rules_asked_together_answer_as_each_alone(parts: list[Any], scope: dict[str, Any]) -> None:
    rules = made(parts)
    alone = [r for rule in rules for r in bundle(rule, defaults={}).decide(scope).reasons]
    together = bundle(*rules, defaults={}).decide(scope).reasons
    assert sorted(r.rule for r in together) == sorted(r.rule for r in alone)
    assert bundle(*rules, defaults={}).decide(scope).ruling.denials == tuple(
        sorted({d for r in alone for d in r.ruling.denials})
    )


def test_more_rules_than_one_expression_holds_are_all_asked() -> None:
    rules = made([(f"step.risk == {n % 4}", DEMANDS[0], False) for n in range(3 * BATCH_MAX)])
    rules.append(Rule(id="long", when=" || ".join(["step.risk == 1"] * 25), hard=True, demand={"deny": "no"}))
    fired = bundle(*rules).decide(assumed({})).reasons
    assert len(fired) == 3 * BATCH_MAX / 4 + 1


def test_what_cannot_be_worked_out_counts_as_fired_and_says_so() -> None:
    verdict = bundle(
        *made([("context.profile.elevated", DEMANDS[1], False), ("context.nothing.at_all", {}, True)])
    ).decide(assumed({}))
    assert verdict.ruling.level is Level.DENY
    assert "what is not known is not allowed" in verdict.ruling.denials[0].text
    assert all("is absent" in (reason.error or "") for reason in verdict.reasons)


def test_a_tier_that_is_none_of_the_four_counts_as_the_highest() -> None:
    for risk in (0, 5, 99):
        assert str(bundle().decide(assumed({"step": {"risk": risk}})).ruling) == "approve(owner)"


def test_facts_tell_absent_from_empty_and_from_not_recorded() -> None:
    scope = {"a": {"b": {}, "c": None, "d": [1]}, "t": "text"}
    values, absent = kept(scope, split({"a.b.x", "a.c.y", "a.d", "z.q", "t.u"}))
    assert values == {"a.b": {}, "a.c": None, "a.d": [1], "t": "text"}
    assert absent == ("a.b.x", "a.c.y", "t.u", "z.q")
    assert rebuilt(values) == {"a": {"b": {}, "c": None, "d": [1]}, "t": "text"}
    assert is_told("a.b.x.y", values, absent)
    assert not is_told("a.e", values, absent)
    assert not is_told("a.b.other", values, absent)


@given(contexts)
def test_conditions_mean_the_same_on_facts_that_were_kept(context: dict[str, Any]) -> None:
    scope = assumed({"context": context})
    for source in CONDITIONS:
        expression = runtime_expression(source)
        again = rebuilt(kept(scope, split(expression.paths))[0])
        assert outcome(expression, again) == outcome(expression, scope)


def outcome(expression: Any, scope: dict[str, Any]) -> Any:
    try:
        return expression.evaluate(Facts(scope))
    except ExpressionError:
        return "error"
