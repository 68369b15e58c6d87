"""Jinja2's environment, narrowed: what docs/adr/0007 takes away from it, and values that know their own names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, Undefined, nodes, pass_environment
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import htmlsafe_json_dumps

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
TEXT_FILTERS = ("lower", "replace", "string", "trim", "upper")
MAX_TEXT = 1_000_000
MAX_POWER = 64
MAX_NESTING = 40


class TemplateProblem(Exception):
    """A template that cannot be compiled or rendered: `message` what is wrong, `cure` what to do."""

    def __init__(self, message: str, cure: str = "") -> None:
        self.message, self.cure = message, cure
        super().__init__(message)


def no_format() -> TemplateProblem:
    """``'text' % value``: as with the filter `format`, a value would say how wide the text becomes."""
    return TemplateProblem("text cannot be formatted with %", "write {{ }} where the value shall stand, or join with ~")


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


class Missing(StrictUndefined):
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

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Jinja raises what this returns for the message it made.
        self._undefined_exception = lambda _message: self.problem  # type: ignore[assignment]


def text_only(value: Any) -> Any:
    if isinstance(value, Undefined):
        return value
    if value is None:
        raise TemplateProblem("a value is None where text is expected", "give it `| default('…', true)` or a `when`")
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

    def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:  # noqa: N802 - Jinja's name
        """``a ~ b`` wants text as ``{{ a }}{{ b }}`` does; Jinja's own would write the text ``None``."""
        self.write("str_join((")
        for part in node.nodes:
            self.write("environment.text_only(")
            self.visit(part, frame)
            self.write("), ")
        self.write("))")


class Environment(ImmutableSandboxedEnvironment):
    code_generator_class = _CodeGenerator
    intercepted_binops = frozenset(["*", "**", "%"])
    text_only = staticmethod(text_only)

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
        if isinstance(obj, Undefined):
            return obj  # the first wrong name is the one to tell
        if obj is None:
            return self.undefined(obj=None, name=argument)
        return self.undefined(hint=f"'{argument}' does not exist: only tables have named members")

    def call(self, *_args: Any, **_kwargs: Any) -> Any:
        raise SecurityError("templates cannot call anything")

    def call_binop(self, _context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and (not isinstance(right, int | float) or abs(right) > MAX_POWER):
            raise TemplateProblem("the power is too large")
        if operator == "%" and isinstance(left, str):
            raise no_format()
        if operator == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(text, str | list | tuple) and (
                    not isinstance(times, int) or len(text) * times > MAX_TEXT
                ):
                    raise TemplateProblem("a repeated text is too large")
        return self.binop_table[operator](left, right)


def environment(*, text: bool) -> Environment:
    env = Environment(
        undefined=Missing,
        autoescape=False,
        optimized=False,  # see _CodeGenerator
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=text_only if text else None,
    )
    env.globals.clear()
    env.filters = {name: env.filters[name] for name in FILTERS}
    env.filters |= {name: _of_text(env.filters[name]) for name in TEXT_FILTERS}
    env.filters |= {"join": _join, "tojson": _tojson}
    return env


def _of_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of Jinja's that makes text of what it is given, without that of None, a list or a table."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        text_only(args[first])
        return function(*args, **options)

    return checked


@pass_environment
def _join(env: Environment, value: Any, d: Any = "", attribute: str | int | None = None) -> str:
    """Jinja's filter, but what is no text is an error, as everywhere where text is wanted."""
    items = value if attribute is None else map(make_attrgetter(env, attribute), value)
    return str(text_only(d)).join(str(text_only(item)) for item in items)


def _tojson(value: Any, indent: int | None = None) -> str:
    """Jinja's filter, but text: its own gives Markup, which escapes what is added to it and no protocol can carry."""
    return str.__str__(htmlsafe_json_dumps(value, sort_keys=True, indent=indent))
