"""`python -m tools.miniworld`: make the stand-in world and print where its repository is."""

from __future__ import annotations

import sys

from tools.miniworld import world
from tools.miniworld.commands import CommandError


def main() -> int:
    """Exit status 0 with the path on standard output, 1 with the reason on standard error."""
    try:
        made = world.ensure()
    except CommandError as error:
        print(f"stand-in world: {error}", file=sys.stderr)
        return 1
    print(made / "repo")
    return 0


if __name__ == "__main__":
    sys.exit(main())
