"""Data to TOML and back."""

from __future__ import annotations

import tomllib

import pytest

from engine.core.structure import toml_text


@pytest.mark.parametrize(
    "content", ["one\ntwo\n", "one\r\ntwo\r\n", "bare\rcr", "\n", "\r\n", '"""\n\\\n', "tab\t\x7f\n"]
)
def test_text_comes_back_as_it_was(content: str) -> None:
    data = {"files": [{"content": content, "lines": "a\nb"}]}
    assert tomllib.loads(toml_text(data)) == data


def test_text_of_several_lines_stands_on_several_lines() -> None:
    assert toml_text({"content": "one\ntwo\n"}) == 'content = """\none\ntwo\n"""\n'
