"""Jinja2, narrowed: values in, text or values out; nothing a value says is ever code (design.md section 2.4).

Stricter than Jinja's sandbox: attributes exist on mappings only (so no method can be called at all), a short list
of filters, no globals, bounded `*` and `**`, an undefined name is an error naming it, and None or a container
where text is expected is an error instead of the text ``None``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, Undefined, nodes
from jinja2.exceptions import SecurityError

from engine.core.errors import did_you_mean
from engine.core.template_environment import (
    FILTERS,
    MAX_NESTING,
    Missing,
    Record,
    TemplateProblem,
    environment,
    no_format,
    text_only,
)

__all__ = [
    "FILTERS", "Record", "TemplateProblem", "compile_expression", "compile_template", "expression", "names", "parse",
    "plain", "single_expression", "text", "value", "variables",
]  # fmt: skip

# Most templates are text around plain names. They need neither parser nor compiler, which would be most of the
# start of `engine render`.
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_INSERTED = re.compile(r"\{\{ *(" + _NAME.pattern + r") *\}\}", re.ASCII)
_WORDS = frozenset(
    ("and", "else", "false", "False", "if", "in", "is", "none", "None", "not", "or")
    + ("self", "caller", "varargs", "kwargs", "true", "True")
)


def _plain_name(source: str) -> tuple[str, ...] | None:
    """The parts of an expression that is nothing but a dotted name."""
    source = source.strip()
    parts = tuple(source.split("."))
    if _NAME.fullmatch(source) and parts[0] not in _WORDS and len(parts) < MAX_NESTING:
        return parts
    return None


@lru_cache(maxsize=4096)
def _plain_parts(template: str) -> tuple[str | tuple[str, ...], ...] | None:
    """Text and dotted names in turn, if the template is made of nothing else."""
    pieces = _INSERTED.split(template)
    parts: list[str | tuple[str, ...]] = []
    for index, piece in enumerate(pieces):
        if index % 2:
            name = _plain_name(piece)
            if name is None:
                return None
            parts.append(name)
        elif "{" in piece or "}" in piece:
            return None
        elif piece:
            parts.append(piece)
    return tuple(parts)


def _looked_up(name: tuple[str, ...], variables: Mapping[str, Any]) -> Any:
    value: Any = variables
    for index, part in enumerate(name):
        if index == 0 and part not in variables:
            raise _missing_name(TemplateProblem(f"unknown variable '{part}'"), variables)
        value = _VALUE.getitem(value, part)
        if isinstance(value, Missing):
            raise _missing_name(value.problem, variables)
    return value


_TEXT = environment(text=True)
_VALUE = environment(text=False)


@lru_cache(maxsize=4096)
def single_expression(text: str) -> str | None:
    """The expression, if the template is nothing but one ``{{ expression }}``; else None."""
    stripped = text.strip()
    if not (stripped.startswith("{{") and stripped.endswith("}}")):
        return None
    if (parts := _plain_parts(stripped)) is not None:
        return ".".join(parts[0]) if len(parts) == 1 and isinstance(parts[0], tuple) else None
    body = parse(stripped).body
    if len(body) == 1 and isinstance(body[0], nodes.Output) and len(body[0].nodes) == 1:
        # A sign beside the braces is about white space, any other is a part of the expression.
        return re.sub(r"\A[-+]|-\Z", "", stripped[2:-2]).strip()
    return None


@lru_cache(maxsize=4096)
def parse(text: str) -> nodes.Template:
    """The syntax tree of a template; TemplateProblem with the line when it is none."""
    try:
        tree = _TEXT.parse(text)
    except TemplateSyntaxError as error:
        place = f"line {error.lineno} of the text" if "\n" in text else ""
        raise TemplateProblem(f"not a template: {(error.message or '').rstrip('.')}", place) from None
    except (*_TOO_MUCH, ValueError) as error:  # ValueError: a number of thousands of digits
        raise _too_much(error) from None
    if _deep(tree):
        raise _too_much(RecursionError())
    for node in tree.find_all((nodes.Stmt, nodes.Name)):
        if isinstance(node, nodes.Stmt) and not isinstance(node, nodes.Output | nodes.If | nodes.For | nodes.Assign):
            raise TemplateProblem(
                f"'{type(node).__name__.lower()}' is not part of the template language",
                f"line {node.lineno}: use if, for and set",
            )
        if isinstance(node, nodes.Name) and node.name in {"self", "caller", "varargs", "kwargs"}:
            raise TemplateProblem(f"unknown variable '{node.name}'", f"line {node.lineno} of the text")
    for formatted in tree.find_all(nodes.Mod):
        if isinstance(formatted.left, nodes.Const) and isinstance(formatted.left.value, str):
            raise no_format()
    return tree


def compile_template(text: str) -> None:
    """Raise TemplateProblem unless `text` compiles."""
    if _plain_parts(text) is None:
        _compiled_text(text)


def compile_expression(text: str) -> None:
    """Raise TemplateProblem unless `text` is one expression (without braces)."""
    if _plain_name(text) is None:
        _compiled_value(text)


@lru_cache(maxsize=4096)
def _compiled_text(text: str) -> Any:
    tree = parse(text)
    try:
        return _TEXT.from_string(tree)
    except TemplateError as error:
        raise TemplateProblem(f"not a template: {(error.message or '').rstrip('.')}") from None
    except _TOO_MUCH as error:
        raise _too_much(error) from None


@lru_cache(maxsize=4096)
def _compiled_value(text: str) -> Any:
    try:
        parse("{{ (" + text + ") }}")
    except TemplateProblem as error:
        cure = "write the expression without {{ }}" if "{{" in text else ""
        raise TemplateProblem(error.message.replace("a template", "an expression"), cure) from None
    try:
        return _VALUE.compile_expression(text, undefined_to_none=False)
    except TemplateSyntaxError as error:
        hint = "write the expression without {{ }}" if "{" in text else ""
        raise TemplateProblem(f"not an expression: {error.message}", hint) from None
    except TemplateError as error:
        raise TemplateProblem(f"not an expression: {(error.message or '').rstrip('.')}") from None
    except _TOO_MUCH as error:
        raise _too_much(error) from None


# What Jinja and Python raise for a text that is nested too deeply, wherever that shows first.
_TOO_MUCH = (RecursionError, SyntaxError, MemoryError)


def _too_much(error: BaseException) -> TemplateProblem:
    if isinstance(error, ValueError):
        return TemplateProblem("not a template: a number in it is too large")
    return TemplateProblem("not a template: it is nested too deeply", f"at most {MAX_NESTING} levels")


def _deep(tree: nodes.Node) -> bool:
    """Deeper than `MAX_NESTING`: whether Python's own limit is met depends on who calls, ours does not."""
    level: list[nodes.Node] = [tree]
    for _ in range(MAX_NESTING):
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return False
    return True


def names(text: str, *, expression: bool = False) -> frozenset[str]:
    """Dotted names that a template (or bare expression) reads: ``{"params.arch", "item.name", "repos"}``.

    Names bound inside (`for x in …`, `set`) are left out.
    """
    if expression and (name := _plain_name(text)):
        return frozenset([".".join(name)])
    if not expression and (parts := _plain_parts(text)) is not None:
        return frozenset(".".join(part) for part in parts if isinstance(part, tuple))
    tree = parse("{{ (" + text + ") }}" if expression else text)
    bound = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    return frozenset(dotted for dotted in _dotted(tree) if dotted.split(".", 1)[0] not in bound)


def _dotted(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, nodes.Getattr | nodes.Getitem | nodes.Name):
        parts: list[str] = []
        current: nodes.Node = node
        while True:
            if isinstance(current, nodes.Getattr):
                parts.append(current.attr)
                current = current.node
            elif (
                isinstance(current, nodes.Getitem)
                and isinstance(current.arg, nodes.Const)
                and isinstance(current.arg.value, str)
            ):
                parts.append(current.arg.value)
                current = current.node
            else:
                break
        if isinstance(current, nodes.Name):
            if current.ctx == "load":
                yield ".".join([current.name, *reversed(parts)])
            return
    for child in node.iter_child_nodes():
        yield from _dotted(child)


def text(template: str, variables: Mapping[str, Any]) -> str:
    """Render a template to text. Raises TemplateProblem."""
    parts = _plain_parts(template)
    if parts is not None:
        shown = (part if isinstance(part, str) else text_only(_looked_up(part, variables)) for part in parts)
        return "".join(map(str, shown))
    return str(_guard(_compiled_text(template).render, variables))


def expression(source: str, variables: Mapping[str, Any]) -> Any:
    """Evaluate a bare expression, keeping its type; what a filter would give bit by bit is a list.

    Raises TemplateProblem.
    """
    return _guard(lambda scope: _evaluated(source, scope), variables)


def _evaluated(source: str, scope: Mapping[str, Any]) -> Any:
    if name := _plain_name(source):
        return _looked_up(name, scope)
    result = _compiled_value(source)(scope)
    if isinstance(result, Missing):
        raise result.problem
    if isinstance(result, Undefined):  # `a if b`, which has no `else`
        return None
    return list(result) if hasattr(result, "__next__") else result


def value(template: Any, variables: Mapping[str, Any]) -> Any:
    """Render a tree of templates: strings that are one expression keep the value's type, others become text."""
    if isinstance(template, str):
        source = single_expression(template)
        if source is None:
            return text(template, variables)
        return _guard(lambda scope: plain(_evaluated(source, scope)), variables)
    if isinstance(template, Mapping):
        return {key: value(item, variables) for key, item in template.items()}
    if isinstance(template, list | tuple):
        return [value(item, variables) for item in template]
    return template


def plain(result: Any) -> Any:
    """A result without our own classes: dicts, lists, str, int, float, bool, None. Raises TemplateProblem."""
    if isinstance(result, Missing):
        raise result.problem
    if isinstance(result, Undefined):
        return None
    if isinstance(result, Mapping):
        return {str(key): plain(item) for key, item in result.items()}
    if isinstance(result, list | tuple) or hasattr(result, "__next__"):
        return [plain(item) for item in result]
    return result


def variables(values: Mapping[str, Any]) -> Record:
    """The top-level scope."""
    return Record("", values)


def _guard(function: Any, scope: Mapping[str, Any]) -> Any:
    # render(**scope) would lose the scope's own class: unknown top-level names are found before.
    try:
        return function(scope)
    except TemplateProblem as problem:
        raise _missing_name(problem, scope) from None
    except SecurityError as error:
        raise TemplateProblem(f"not allowed: {error}") from None
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise TemplateProblem(f"cannot be rendered: {error}") from None


def _missing_name(problem: TemplateProblem, scope: Mapping[str, Any]) -> TemplateProblem:
    """Add the nearest known name: only here is the whole scope at hand."""
    prefix = "unknown variable '"
    if not problem.message.startswith(prefix):
        return problem
    full = problem.message[len(prefix) :].rstrip("'")
    owner: Any = scope
    *parents, _last = full.split(".")
    for part in parents:
        owner = owner.get(part) if isinstance(owner, Mapping) else None
    known = [".".join([*parents, key]) for key in owner] if isinstance(owner, Mapping) else []
    return TemplateProblem(problem.message, did_you_mean(full, known))
