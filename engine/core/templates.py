"""Jinja2, narrowed: values in, text or values out; nothing a value says is ever code (design.md section 2.4).

Stricter than Jinja's sandbox: attributes exist on mappings only (so no method can be called at all), a short list
of filters, no globals, bounded `*` and `**`, an undefined name is an error naming it, and None or a container
where text is expected is an error instead of the text ``None``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, Undefined, UndefinedError, nodes
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.core.errors import did_you_mean

FILTERS = (
    "abs",
    "default",
    "first",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "select",
    "selectattr",
    "sort",
    "string",
    "tojson",
    "trim",
    "unique",
    "upper",
)
MAX_TEXT = 1_000_000
MAX_POWER = 64
MAX_NESTING = 40


class TemplateProblem(Exception):
    """A template that cannot be compiled or rendered: `message` what is wrong, `cure` what to do."""

    def __init__(self, message: str, cure: str = "") -> None:
        self.message, self.cure = message, cure
        super().__init__(message)


class Record(dict[str, Any]):
    """Named values that know their own place, so that a wrong name can be told in full."""

    def __init__(self, path: str, values: Mapping[str, Any]) -> None:
        super().__init__({key: record(f"{path}.{key}" if path else key, value) for key, value in values.items()})
        self.path = path


def record(path: str, value: Any) -> Any:
    """`value` with every mapping in it made a `Record` and every sequence a list."""
    if isinstance(value, Mapping):
        return Record(path, value)
    if isinstance(value, list | tuple):
        return [record(f"{path}[{index}]", item) for index, item in enumerate(value)]
    return value


class _Missing(StrictUndefined):
    """Undefined that remembers the dotted name and its neighbours."""

    @property
    def problem(self) -> TemplateProblem:
        owner, name = self._undefined_obj, str(self._undefined_name)
        if isinstance(owner, Record):
            return TemplateProblem(f"unknown variable '{owner.path}.{name}'")
        if owner is None:
            return TemplateProblem(f"'{name}' is asked of a value that is None here", "test it with a `when` first")
        if self._undefined_hint:
            return TemplateProblem(self._undefined_hint)
        return TemplateProblem(f"unknown variable '{name}'")

    @property
    def _undefined_message(self) -> str:
        return self.problem.message


def _text_only(value: Any) -> Any:
    if isinstance(value, Undefined):
        return value
    if value is None:
        raise TemplateProblem("a value is None where text is expected", "give it a default or a `when`")
    if isinstance(value, list | tuple | Mapping) or hasattr(value, "__next__"):
        kind = "a table" if isinstance(value, Mapping) else "a list"
        raise TemplateProblem(f"a value is {kind} where text is expected", "use `each`, or the filter join")
    return value


class _CodeGenerator(CodeGenerator):
    """Evaluates nothing while it compiles: a chain of filters on a constant may need any time and memory."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Any, finalize: Any) -> str:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)


class _Environment(ImmutableSandboxedEnvironment):
    code_generator_class = _CodeGenerator
    intercepted_binops = frozenset(["*", "**"])

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping):
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        if isinstance(obj, list | tuple | str) and isinstance(argument, int):
            return (
                obj[argument]
                if -len(obj) <= argument < len(obj)
                else self.undefined(hint=f"there is no item {argument}")
            )
        if isinstance(obj, list | tuple | str) and isinstance(argument, slice):
            return obj[argument]
        if obj is None or isinstance(obj, Undefined):
            return self.undefined(obj=None, name=argument)
        return self.undefined(hint=f"'{argument}' does not exist: only tables have named members")

    def call(self, *_args: Any, **_kwargs: Any) -> Any:
        raise SecurityError("templates cannot call anything")

    def call_binop(self, _context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and (not isinstance(right, int | float) or abs(right) > MAX_POWER):
            raise TemplateProblem("the power is too large")
        if operator == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(text, str | list | tuple) and (
                    not isinstance(times, int) or len(text) * times > MAX_TEXT
                ):
                    raise TemplateProblem("a repeated text is too large")
        return self.binop_table[operator](left, right)


def _environment(*, text: bool) -> _Environment:
    env = _Environment(
        undefined=_Missing,
        autoescape=False,
        optimized=False,  # see _CodeGenerator
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_text_only if text else None,
    )
    env.globals.clear()
    env.filters = {name: env.filters[name] for name in FILTERS}
    return env


_TEXT = _environment(text=True)
_VALUE = _environment(text=False)


@lru_cache(maxsize=4096)
def single_expression(text: str) -> str | None:
    """The expression, if the template is nothing but one ``{{ expression }}``; else None."""
    stripped = text.strip()
    if not (stripped.startswith("{{") and stripped.endswith("}}")):
        return None
    body = parse(stripped).body
    if len(body) == 1 and isinstance(body[0], nodes.Output) and len(body[0].nodes) == 1:
        return stripped[2:-2].strip("-+ \t\n")
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
    return tree


def compile_template(text: str) -> None:
    """Raise TemplateProblem unless `text` compiles."""
    if "{" in text:
        _compiled_text(text)


def compile_expression(text: str) -> None:
    """Raise TemplateProblem unless `text` is one expression (without braces)."""
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
    if not expression and "{" not in text:
        return frozenset()
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
    if "{" not in template:
        return template
    return str(_guard(_compiled_text(template).render, variables))


def expression(source: str, variables: Mapping[str, Any]) -> Any:
    """Evaluate a bare expression, keeping its type. Raises TemplateProblem."""
    result = _guard(_compiled_value(source), variables)
    if isinstance(result, _Missing):
        raise _missing_name(result.problem, variables)
    return result


def value(template: Any, variables: Mapping[str, Any]) -> Any:
    """Render a tree of templates: strings that are one expression keep the value's type, others become text."""
    if isinstance(template, str):
        source = single_expression(template)
        return plain(expression(source, variables)) if source is not None else text(template, variables)
    if isinstance(template, Mapping):
        return {key: value(item, variables) for key, item in template.items()}
    if isinstance(template, list | tuple):
        return [value(item, variables) for item in template]
    return template


def plain(result: Any) -> Any:
    """A result without our own classes: dicts, lists, str, int, float, bool, None."""
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
    except TemplateProblem:
        raise
    except UndefinedError as error:
        raise _missing_name(TemplateProblem(str(error.message)), scope) from None
    except SecurityError as error:
        raise TemplateProblem(f"not allowed: {error}") from None
    except (TemplateError, ArithmeticError, TypeError, ValueError, RecursionError) as error:
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
