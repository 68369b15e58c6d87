"""What the text of a recipe key may be: one table for the loader's check, the JSON schema and the reference.

A class names the kind in its field (`engine.core.recipe.doc`); each check looks at one string alone and returns
the complaint (message, cure) or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from attrs import frozen

from engine.core import policy
from engine.core.documents import shown
from engine.core.policy import Complaint
from engine.core.recipe import METHOD_PATTERN, NAME_PATTERN, Kind
from engine.core.templates import TemplateProblem, compile_expression, compile_template

_SIZE = r"[1-9][0-9]{0,9}[kmgt]"
_OCTAL = r"[01]?[0-7]{3}"
_WORD = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_FILE_NAME = r"([A-Za-z0-9_][A-Za-z0-9._+-]*)?"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_EXIT_CODE = r"[1-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5]"
_ABSOLUTE = r"/[^{}]+"


@frozen
class KindRule:
    """`check` a string; `pattern` the same as a regular expression for the schema, where it can be said."""

    check: Callable[[str], Complaint | None]
    pattern: str | None = None


def _matches(pattern: str, what: str, cure: str) -> KindRule:
    compiled = re.compile(pattern)

    def check(text: str) -> Complaint | None:
        return None if compiled.fullmatch(text) else (f"must be {what}, got {shown(text)}", cure)

    return KindRule(check, pattern)


def _compiles(compiler: Callable[[str], None]) -> KindRule:
    def check(text: str) -> Complaint | None:
        try:
            compiler(text)
        except TemplateProblem as problem:
            return problem.message, problem.cure
        return None

    return KindRule(check)


def _expression(text: str) -> None:
    if text.strip().startswith("{{"):
        raise TemplateProblem("must be an expression, got a template", "write it without {{ }}")
    compile_expression(text)


def _glob(text: str) -> Complaint | None:
    if complaint := policy.path_complaint(text, absolute=False):
        return complaint
    if "{" in text:
        return f"must be a glob as it stands, got {shown(text)}", "templates have no meaning here"
    first = text.split("/", 1)[0]
    if first in {"logs", "in"} or not re.fullmatch(r"[^*?\[]+", first):
        return (
            f"must begin with a directory of the workspace that steps write, got {shown(text)}",
            "e.g. 'result/*.rpm'",
        )
    return None


def _directory(text: str) -> Complaint | None:
    if "{" in text:
        return f"must be a path as it stands, got {shown(text)}", "templates have no meaning here"
    return policy.path_complaint(text)


KINDS: Mapping[Kind, KindRule] = {
    "template": _compiles(compile_template),
    "templates": _compiles(compile_template),
    "expression": _compiles(_expression),
    "name": _matches(NAME_PATTERN, "a name", "a lower case letter, then lower case letters, digits or '_'"),
    "method": _matches(METHOD_PATTERN, "a method name", "a letter, then letters, digits or '_'"),
    "word": _matches(_WORD, "one word", "letters, digits, '.', '_' and '-'"),
    "size": _matches(_SIZE, "a size with its unit", "a whole number and k, m, g or t: '64m', '4g'"),
    "octal": _matches(_OCTAL, "octal permissions", "three or four octal digits: '0755', '1777'"),
    "file name": _matches(_FILE_NAME, "a file name", "letters, digits, '.', '_', '+' and '-', no directory"),
    "variable name": _matches(_VARIABLE, "the name of a variable", "letters, digits and '_'"),
    "exit code": _matches(_EXIT_CODE, "an exit code", "'1' to '255'"),
    "glob": KindRule(_glob),
    "directory": KindRule(_directory, _ABSOLUTE),
}
