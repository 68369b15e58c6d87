"""A repository with two streams of one module: the packages `tool` and `tool-extra`, and what modules say of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.buildroot.roots import SmallRepo

MODULE = """\
---
document: modulemd
version: 2
data:
  name: tool
  stream: "{stream}"
  version: 1
  context: c0ffee
  arch: x86_64
  summary: A module of a test
  description: A module of a test.
  license: {{ module: [MIT] }}
  dependencies:
  - requires: {{ {requires} }}
  profiles:
    default: {{ rpms: [tool] }}
    full: {{ rpms: [tool, tool-extra] }}
  artifacts:
    rpms:
    - tool-0:{stream}-1.noarch
    - tool-extra-0:{stream}-1.noarch
"""
DEFAULTS = """\
---
document: modulemd-defaults
version: 1
data:
  module: tool
{stream}  profiles:
    "1": [default]
    "2": [default]
"""
STREAMS = ("1", "2")


def add_modules(
    repo: SmallRepo, make_package: Callable[..., Path], *, default: str = "", requires: str = "", plain: bool = True
) -> None:
    """Put `tool` and `tool-extra` of both streams into the repo, and `tool` 3 that is of no module.

    `default` is the stream that is on unless told otherwise; `requires` what the streams need (``platform: [el8]``).
    """
    for stream in STREAMS:
        label = f"ModularityLabel: tool:{stream}:1:c0ffee"
        for name in ("tool", "tool-extra"):
            repo.put(make_package(name, stream, text=stream, head=label))
    if plain:
        repo.put(make_package("tool", "3"))
    repo.index()
    say_modules(repo, default=default, requires=requires)


def say_modules(repo: SmallRepo, *, default: str = "", requires: str = "", streams: Sequence[str] = STREAMS) -> None:
    """Give the metadata of the repo the document `modules`."""
    on = f'  stream: "{default}"\n' if default else ""
    text = "".join(MODULE.format(stream=stream, requires=requires) for stream in streams) + DEFAULTS.format(stream=on)
    document = repo.path / "modules.yaml"
    document.write_text(text)
    command = ["modifyrepo_c", "--mdtype=modules", str(document), str(repo.path / "repodata")]
    subprocess.run(command, check=True, capture_output=True)
    document.unlink()
