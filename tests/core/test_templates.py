"""The template language: values stay values, and nothing else can be reached."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core import templates
from engine.core.templates import TemplateProblem

SCOPE = templates.variables(
    {
        "params": {"arch": "x86_64", "keys": ["a", "b"], "nothing": None, "items": "not a method", "yes": True},
        "image": "registry/image:1",
        "repos": [{"name": "build"}],
    }
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ params.arch }}", "x86_64"),
        ("{{ params['arch'] }}", "x86_64"),
        ("{{ params.items }}", "not a method"),
        ("{{ params.keys | join(',') }}", "a,b"),
        ("{{ repos[0].name }}", "build"),
        ("{% for key in params.keys %}{{ key }};{% endfor %}", "a;b;"),
        ("{% if params.nothing is none %}no{% else %}yes{% endif %}", "no"),
        ("{{ params.nothing or 'else' }}", "else"),
        ("no template", "no template"),
        ("{{ '{{ 7*7 }}' }}", "{{ 7*7 }}"),
        ("{{ params.arch ~ '-' ~ 7 }}", "x86_64-7"),
        ("{{ params.keys | tojson + '&' }}", '["a", "b"]&'),
    ],
)
def test_text(template: str, expected: str) -> None:
    assert templates.text(template, SCOPE) == expected


@pytest.mark.parametrize(
    ("template", "message", "cure"),
    [
        ("{{ params.arhc }}", "unknown variable 'params.arhc'", "did you mean 'params.arch'?"),
        ("{{ imgae }}", "unknown variable 'imgae'", "did you mean 'image'?"),
        ("{{ params.nothing }}", "None where text is expected", "default"),
        ("{{ params.keys }}", "a list where text is expected", "join"),
        ("{{ params }}", "a table where text is expected", "each"),
        ("{{ params.nothing.x }}", "a value that is None", ""),
        ("{{ params.arch.upper() }}", "cannot call anything", ""),
        ("{{ ''.__class__.__mro__ }}", "only tables have named members", ""),
        ("{{ params.__class__ }}", "unknown variable", ""),
        ("{{ params.keys.__len__ }}", "only tables have named members", ""),
        ("{{ self.x }}", "unknown variable 'self'", ""),
        ("{{ range(9) }}", "cannot call anything", ""),
        ("{{ cycler }}", "unknown variable 'cycler'", ""),
        ("{{ 'a' * 10 ** 9 }}", "too large", ""),
        ("{{ 10 ** 100 }}", "too large", ""),
        ("{{ params.arch | attr('upper') }}", "No filter named 'attr'", ""),
        ("{{ '%9999999s' | format('x') }}", "No filter named 'format'", ""),
        ("{% include '/etc/passwd' %}", "'include' is not part", "use if, for and set"),
        ("{% import 'x' as y %}", "'import' is not part", ""),
        ("{% macro m() %}{% endmacro %}", "'macro' is not part", ""),
        ("{% filter upper %}x{% endfilter %}", "'filterblock' is not part", ""),
        ("{{", "not a template", ""),
        ("a\n{{", "not a template", "line 2"),
        ("{{ 1 / 0 }}", "cannot be rendered", ""),
        ("{{ '%9999999s' % 'x' }}", "formatted with %", "{{ }}"),
        ("{{ '%(x)s' % params }}", "formatted with %", "{{ }}"),
        ("{{ params.nothing ~ '-devel' }}", "None where text is expected", "default"),
        ("{{ 'x' ~ params.keys }}", "a list where text is expected", "join"),
        ("{{ params.arhc ~ 'x' }}", "unknown variable 'params.arhc'", "did you mean 'params.arch'?"),
    ],
)
def test_refused(template: str, message: str, cure: str) -> None:
    with pytest.raises(TemplateProblem) as caught:
        templates.text(template, SCOPE)
    assert message in caught.value.message
    assert cure in caught.value.cure


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ params.keys }}", ["a", "b"]),
        ("{{ params.nothing }}", None),
        ("{{ params.yes }}", True),
        ("{{ params.keys | length }}", 2),
        ("{{ params.keys }} ", ["a", "b"]),
        ("n={{ params.keys | length }}", "n=2"),
        ({"a": ["{{ params.arch }}", 7, None]}, {"a": ["x86_64", 7, None]}),
        ("{{ params.keys | map('upper') }}", ["A", "B"]),
        ("{{ -1 }}", -1),
        ("{{- -(params.keys | length) -}}", -2),
        ("{{-1-}}", 1),
        ("{{ 7 % 4 }}", 3),
        ("{{ 'a' if params.nothing }}", None),
        ("{{ ['a' if params.nothing] }}", [None]),
    ],
)
def test_a_single_expression_keeps_its_type(template: Any, expected: Any) -> None:
    assert templates.value(template, SCOPE) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ params.keys | map('abs') }}", "cannot be rendered: bad operand"),
        ("{{ params.keys | select('nosuch') }}", "cannot be rendered: No test named 'nosuch'"),
        ("{{ [params.arhc] }}", "unknown variable 'params.arhc'"),
        ("{{ {'a': [params.arhc]} }}", "unknown variable 'params.arhc'"),
    ],
)
def test_a_value_is_whole_or_a_problem(template: str, message: str) -> None:
    with pytest.raises(TemplateProblem) as caught:
        templates.value(template, SCOPE)
    assert message in caught.value.message


def test_what_filters_choose_is_a_list_and_false_when_empty() -> None:
    assert templates.expression("params.keys | select('eq', 'b')", SCOPE) == ["b"]
    assert not templates.expression("params.keys | select('eq', 'c')", SCOPE)


def test_results_are_plain() -> None:
    result = templates.value("{{ params }}", SCOPE)
    assert type(result) is dict
    assert type(result["keys"]) is list
    assert type(templates.value("{{ params.keys | tojson }}", SCOPE)) is str


@given(st.text())
def test_a_value_is_never_template_source(value: str) -> None:
    scope = templates.variables({"value": value})
    assert templates.text("<{{ value }}>", scope) == f"<{value}>"
    assert templates.value("{{ value }}", scope) == value


@given(st.text(alphabet="{}%#ab.'\"[]()|*_ ", max_size=30))
def test_any_text_compiles_or_is_a_problem(text: str) -> None:
    try:
        templates.compile_template(text)
        templates.text(text, SCOPE)
    except TemplateProblem:
        pass


def test_names() -> None:
    text = "{% for k in params.keys %}{{ k.x }}{{ repo['id'] }}{% endfor %}{{ item }}"
    assert templates.names(text) == {"params.keys", "repo.id", "item"}
    assert templates.names("params.opts.x and not item.y", expression=True) == {"params.opts.x", "item.y"}


def test_an_expression_is_written_without_braces() -> None:
    with pytest.raises(TemplateProblem) as caught:
        templates.expression("{{ params.arch }}", SCOPE)
    assert caught.value.cure == "write the expression without {{ }}"


@pytest.mark.parametrize(
    "template",
    ["{{ params.arch }}", "a{{ image }}b{{params.items}}", "{{ params.arhc }}", "{{ nothing }}", "{{ params }}",
     "{{ params.nothing }}", "{{ params.keys }}", "{{ params.arch.x }}", "{{ params.nothing.x }}", "{{ none }}",
     "{{ image.x.y }}"],
)  # fmt: skip
def test_plain_templates_need_no_compiler_and_mean_the_same(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome() -> object:
        try:
            return templates.text(template, SCOPE)
        except TemplateProblem as problem:
            return problem.message, problem.cure

    quick = outcome()
    monkeypatch.setattr(templates, "_plain_parts", lambda _template: None)
    assert outcome() == quick
