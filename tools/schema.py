"""Write schema/*.schema.json from the classes: ``python -m tools.schema`` (make schema)."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path

from engine.core.schema import json_schema

ROOT = Path(__file__).parents[1]
FIX = "make schema"
# file: (module, class, title, None may be written as null)
SCHEMAS: Mapping[str, tuple[str, str, str, bool]] = {
    "recipe": ("engine.core.recipe", "Recipe", "Koji Adjutant recipe", False),
    "request": ("engine.core.facts", "RenderRequest", "Koji Adjutant render request", True),
    "worker": ("engine.settings.document", "WorkerFile", "Koji Adjutant worker.toml", False),
}


def texts() -> dict[Path, str]:
    """Each schema file with what it must hold."""
    written = {}
    for name, (module, cls, title, null) in SCHEMAS.items():
        schema = json_schema(getattr(importlib.import_module(module), cls), title=title, null=null)
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        written[ROOT / "schema" / f"{name}.schema.json"] = text
    return written


def main() -> None:
    """Write every file."""
    for path, text in texts().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
