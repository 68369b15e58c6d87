"""What the text of a recipe key may be: one table for the loader's check, the JSON schema and the reference.

A class names the kind in its field (`engine.core.recipe.doc`); each check looks at one string alone and returns
the complaint (message, cure) or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal

from attrs import frozen

from engine.core import policy
from engine.core.documents import shown
from engine.core.fields import Kind
from engine.core.images import image_complaint
from engine.core.policy import Complaint
from engine.core.recipe import METHOD_PATTERN, NAME_PATTERN
from engine.core.templates import TemplateProblem, compile_expression, compile_template

_SIZE = r"[1-9][0-9]{0,9}[kmgt]"
_OCTAL = r"[01]?[0-7]{3}"
_WORD = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_FILE_NAME = r"([A-Za-z0-9_][A-Za-z0-9._+-]*)?"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_EXIT_CODE = r"[1-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5]"
_VALUE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
_KERNEL_TREES = ("/proc", "/sys", "/dev")


Form = Literal["text", "template", "expression"]


@frozen
class KindRule:
    """`check` a string; `pattern` the same as a regular expression for the schema, where it can be said.

    `form` says what the render does with it: nothing, or which of Jinja's two.
    """

    check: Callable[[str], Complaint | None]
    pattern: str | None = None
    form: Form = "text"


def _matches(pattern: str, what: str, cure: str) -> KindRule:
    compiled = re.compile(pattern)

    def check(text: str) -> Complaint | None:
        return None if compiled.fullmatch(text) else (f"must be {what}, got {shown(text)}", cure)

    return KindRule(check, pattern)


def _template(judge: Callable[[str], Complaint | None] | None = None) -> KindRule:
    """A template that compiles; `judge` has a word on its fixed parts (`sample`)."""

    def check(text: str) -> Complaint | None:
        try:
            compile_template(text)
        except TemplateProblem as problem:
            return problem.message, problem.cure
        fixed = sample(text) if judge is not None else None
        return judge(fixed) if judge is not None and fixed is not None else None

    return KindRule(check, form="template")


def sample(template: str) -> str | None:
    """The template as it would look once rendered, ``x`` for each value; None when it cannot be told.

    A value at its beginning stands for an absolute path.
    """
    if "{%" in template or "{#" in template:
        return None
    text = _VALUE.sub("x", template)
    return f"/{text}" if template.startswith("{{") else text


def _expression(text: str) -> Complaint | None:
    if text.strip().startswith("{{"):
        return "must be an expression, got a template", "write it without {{ }}"
    try:
        compile_expression(text)
    except TemplateProblem as problem:
        return problem.message, problem.cure
    return None


def relative_path(path: str) -> Complaint | None:
    """What is wrong with the sample of a path that must stay below some directory."""
    return policy.path_complaint(path.removeprefix("/x") or "x", absolute=False)


def _made_directory(path: str) -> Complaint | None:
    if path.split("/", maxsplit=1)[0] in {"in", "logs"}:
        return f"{path}: in/ and logs/ are the engine's", "use result/…"
    return relative_path(path)


def _image(reference: str) -> Complaint | None:
    if _IMAGE.fullmatch(reference.removeprefix("/")):
        return None
    return f"{shown(reference)} is not an image reference", "e.g. registry/name:tag"


def _image_template(text: str) -> Complaint | None:
    return _template(_image).check(text) or (image_complaint(text) if "{" not in text else None)


def _host_name(name: str) -> Complaint | None:
    if policy.HOST_NAME.match(name.removeprefix("/")):
        return None
    return f"{shown(name)} is not a host name", ""


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


def _tmpfs_target(text: str) -> Complaint | None:
    if "{" in text:
        return f"must be a path as it stands, got {shown(text)}", "templates have no meaning here"
    if complaint := policy.path_complaint(text):
        return complaint
    if text == "/" or any(policy.below(text, tree) for tree in _KERNEL_TREES):
        return f"nothing may be mounted at {text}", "for /dev/shm see limits.shm"
    return None


KINDS: Mapping[Kind, KindRule] = {
    "template": _template(),
    "templates": _template(),
    "expression": KindRule(_expression, form="expression"),
    "name": _matches(NAME_PATTERN, "a name", "a lower case letter, then lower case letters, digits or '_'"),
    "method": _matches(METHOD_PATTERN, "a method name", "a letter, then letters, digits or '_'"),
    "word": _matches(_WORD, "one word", "letters, digits, '.', '_' and '-'"),
    "size": _matches(_SIZE, "a size with its unit", "a whole number and k, m, g or t: '64m', '4g'"),
    "octal": _matches(_OCTAL, "octal permissions", "three or four octal digits: '0755', '1777'"),
    "file name": _matches(_FILE_NAME, "a file name", "letters, digits, '.', '_', '+' and '-', no directory"),
    "variable name": _matches(_VARIABLE, "the name of a variable", "letters, digits and '_'"),
    "exit code": _matches(_EXIT_CODE, "an exit code", "'1' to '255'"),
    "glob": KindRule(_glob),
    "mount source": _template(policy.source_complaint),
    "mount target": _template(policy.target_complaint),
    "tmpfs target": KindRule(_tmpfs_target, r"/[^{}]+"),
    "image": KindRule(_image_template, form="template"),
    "path": _template(policy.path_complaint),
    "file path": _template(relative_path),
    "made directory": _template(_made_directory),
    "host name": _template(_host_name),
}
