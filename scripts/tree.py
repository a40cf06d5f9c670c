"""Writes the file tree from the first sentence of every module, so that it cannot be wrong: folders alone into
README.md, every file into docs/tree.md.

python scripts/tree.py           rewrites both
python scripts/tree.py --check   exits 1 if either would change
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "glassgpt"
START, END = "<!-- tree -->\n```\n", "```\n<!-- end of tree -->"
# Folders in the order of the data flow, not of the alphabet.
STAGES = [
    "book", "model", "kernels", "quantization", "tokenizer", "data", "weights", "parallel", "training", "generation",
    "inspection", "cli",
]  # fmt: skip


def main() -> int:
    changed = {path: page for path, page in pages().items() if path.read_text(encoding="utf-8") != page}
    if "--check" in sys.argv:
        return int(bool(changed))
    for path, page in changed.items():
        path.write_text(page, encoding="utf-8")
    return 0


def pages() -> dict[Path, str]:
    """The two pages as they should be: each with its tree between the markers."""
    lines = list(tree())
    trees = {
        ROOT / "README.md": [text for module, text in lines if module.name == "__init__.py"],
        ROOT / "docs" / "tree.md": [text for _, text in lines],
    }
    return {path: with_tree(path.read_text(encoding="utf-8"), texts) for path, texts in trees.items()}


def with_tree(page: str, lines: list[str]) -> str:
    start, end = page.index(START) + len(START), page.index(END)
    return page[:start] + "".join(f"{line}\n" for line in ["src/glassgpt/", *lines]) + page[end:]


def tree() -> Iterator[tuple[Path, str]]:
    """Every module of src/glassgpt with its line; the ``__init__.py`` stands for its folder."""
    folders = [PACKAGE / stage for stage in STAGES]
    assert {path.parent for path in PACKAGE.glob("*/__init__.py")} == set(folders), "STAGES is not what is there"
    for folder in folders:
        yield from branch(folder, 1)


def branch(folder: Path, depth: int) -> Iterator[tuple[Path, str]]:
    """A folder's own line, then those of its modules and of the packages in it."""
    own = folder / "__init__.py"
    yield own, line(depth, f"{folder.name}/", own)
    for module in sorted(folder.glob("*.py")):
        if module != own:
            yield module, line(depth + 1, module.name, module)
    for inner in sorted(folder.glob("*/__init__.py")):
        yield from branch(inner.parent, depth + 1)


def line(depth: int, name: str, module: Path) -> str:
    indented = "  " * depth + name
    return f"{indented:<28}{first_sentence(module)}".rstrip()


def first_sentence(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=[.;])\s", " ".join(docstring.split()), maxsplit=1)[0].rstrip(".:;")


if __name__ == "__main__":
    sys.exit(main())
