"""Writes the file tree of the README from the first sentence of every module, so that it cannot be wrong.

python scripts/tree.py           rewrites README.md
python scripts/tree.py --check   exits 1 if README.md would change
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
START, END = "<!-- tree -->\n```\n", "```\n<!-- end of tree -->"
# Folders in the order of the data flow, not of the alphabet.
STAGES = [
    "book", "model", "kernels", "quantization", "tokenizer", "data", "weights", "parallel", "training", "generation",
    "inspection", "cli",
]  # fmt: skip


def main() -> int:
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    start, end = text.index(START) + len(START), text.index(END)
    updated = text[:start] + tree() + text[end:]
    if "--check" in sys.argv:
        return int(updated != text)
    path.write_text(updated, encoding="utf-8")
    return 0


def tree() -> str:
    """The tree of src/glassgpt, a line a folder and a line a module."""
    package = ROOT / "src" / "glassgpt"
    folders = [package / stage for stage in STAGES if (package / stage).is_dir()]
    assert {path.parent for path in package.glob("*/__init__.py")} == set(folders), "a folder is missing in STAGES"
    lines = ["src/glassgpt/"]
    for folder in folders:
        lines += branch(folder, 1)
    return "".join(f"{line}\n" for line in lines)


def branch(folder: Path, depth: int) -> list[str]:
    """A folder's own line, then those of its modules and of the packages in it."""
    lines = [line(depth, f"{folder.name}/", folder / "__init__.py")]
    lines += [line(depth + 1, path.name, path) for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    for inner in sorted(folder.glob("*/__init__.py")):
        lines += branch(inner.parent, depth + 1)
    return lines


def line(depth: int, name: str, module: Path) -> str:
    indented = "  " * depth + name
    return f"{indented:<28}{first_sentence(module)}".rstrip()


def first_sentence(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=[.;])\s", " ".join(docstring.split()), maxsplit=1)[0].rstrip(".:;")


if __name__ == "__main__":
    sys.exit(main())
