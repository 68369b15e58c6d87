"""The text of a new recipe: small, complete, and what may be added as comments."""

from __future__ import annotations

SCHEMA = "../schema/recipe.schema.json"

_TEXT = """\
#:schema {schema}
recipe  = 1
method  = "{method}"
summary = "What {method} does, in one line"
weight  = 1.0

# The task's positional arguments, in Koji's order. `local` stands in when `engine run` has no hub to ask.
params = [
  {{ name = "name", type = "str", local = "world", summary = "whom to greet" }},
]

# The task's result: text, numbers, tables and arrays; a template that is one expression keeps its type.
[result]
files = "{{{{ artifacts.output.names }}}}"
logs  = "{{{{ logs.names }}}}"

# A file below the hub's work/; in templates {{{{ inputs.source }}}} is its path in the containers.
# [[inputs]]
# name   = "source"
# source = "{{{{ params.name }}}}"

# The sandbox of every step: the koji user, no network, no capabilities. A step says where it needs another.
[container]
workdir = "{{{{ workspace.path }}}}/result"

[[container.mounts]]
source  = "{{{{ workspace.host }}}}/in"
target  = "{{{{ workspace.path }}}}/in"
selinux = "Z"

[[container.mounts]]
source  = "{{{{ workspace.host }}}}/result"
target  = "{{{{ workspace.path }}}}/result"
mode    = "rw"
selinux = "Z"

# Written into the workspace's in/ before the first step.
[[files]]
path    = "greeting.txt"
content = "Hello, {{{{ params.name }}}}!\\n"

# One container after another. Each item of argv is one argument, whatever its value.
[[steps]]
name    = "greet"
summary = "greeting {{{{ params.name }}}}"
argv    = ["cp", "--verbose", "{{{{ workspace.path }}}}/in/greeting.txt", "greeting.txt"]
log     = "greet.log"
timeout = 60
fails   = "GenericError"
# user    = "root"      # these three only for a step that installs packages
# network = "default"
# caps    = "install"

# What is collected from the workspace and uploaded.
[[artifacts]]
name = "output"
glob = ["result/*.txt"]
min  = 1
"""


def skeleton(method: str, schema: str = SCHEMA) -> str:
    """A commented recipe for `method` that loads, warns of nothing and renders. `schema` is for the editor."""
    return _TEXT.format(method=method, schema=schema)
