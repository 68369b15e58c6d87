"""What a shell makes of the printed text is, byte for byte, the argument list that the API body names."""

from __future__ import annotations

import subprocess

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.podman_form import command, shell_text
from engine.core.spec import ContainerSpec, VolumeMount
from tests.form import samples

# Stands for podman in the shell: prints its arguments, each ended by NUL; mounts print a path with a space.
PODMAN = """podman() {
  if [ "$1" = mount ]; then printf '/roots/of %s\\n' "$2"; return; fi
  for word; do printf '%s\\0' "$word"; done
}
"""

NASTY = [
    "", " ", "a b", "'", '"', "''", "a'b\"c", "$(touch /tmp/x)", "`id`", "$HOME", "${IFS}", "\\", "\\\\", "a\\",
    "line\nline", "\n", "tab\tcr\r", "*", "?", "[a-z]", "~", "!", "#x", "-o", "--privileged", "; rm -rf /", "&", "|",
    "> /x", "{a,b}", "{{ params.x }}", "ünïcödé", "日本語", "\u202e", "e\u0301", "%s", "a=b", "\x01", "\x7f", ",", ":",
]  # fmt: skip


def words_of(spec: ContainerSpec) -> list[str]:
    """The arguments podman gets when a POSIX shell runs the printed text."""
    script = PODMAN + shell_text(spec, verb="create")
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, cwd="/")
    assert done.stdout.endswith(b"\0")
    return done.stdout[:-1].decode().split("\0")


def assert_exact(spec: ContainerSpec) -> None:
    roots = {name: f"/roots/of {name}" for name in ("anchor", "it's $(x)")}
    assert ["podman", *words_of(spec)] == command(spec, roots)


def test_every_nasty_text_as_an_argument() -> None:
    assert_exact(attrs.evolve(samples.BASE, argv=tuple(NASTY)))


@pytest.mark.parametrize("field", ["name", "image", "workdir", "hostname", "log_path", "selinux_type", "selinux_level"])
def test_nasty_text_in_every_text_field(field: str) -> None:
    refused = ',"\n\r' if field == "log_path" else ""  # see test_twin.py
    for text in NASTY:
        if not set(text) & set(refused):
            assert_exact(attrs.evolve(samples.BASE, **{field: f"x{text}"}))


def test_nasty_text_in_tables_and_mounts() -> None:
    env = {f"K{number}": text for number, text in enumerate(NASTY)}
    mounts = tuple(VolumeMount(source=f"/s{text}", target=f"/t{text}") for text in NASTY if ":" not in text)
    assert_exact(attrs.evolve(samples.BASE, env=env, labels=env, mounts=mounts))


def test_roots() -> None:
    mount = VolumeMount(source="root:it's $(x)", target="/target", read_only=False)
    assert_exact(attrs.evolve(samples.BASE, root="anchor", mounts=(mount,)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_any_arguments(argv: list[str]) -> None:
    assert_exact(attrs.evolve(samples.BASE, argv=tuple(argv)))


def test_one_option_a_line() -> None:
    lines = shell_text(samples.BASE).split("\n")
    assert lines[0] == "podman run \\"
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert all(line.startswith("  ") for line in lines[1:])
