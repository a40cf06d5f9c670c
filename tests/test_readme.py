"""What the README says is so."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_trees_are_those_of_the_files():
    check = subprocess.run([sys.executable, ROOT / "scripts" / "tree.py", "--check"])
    assert check.returncode == 0, "run python scripts/tree.py"


def test_every_command_it_names_exists():
    from glassgpt.cli.main import COMMANDS

    existing = {name for commands in COMMANDS.values() for name, _, _ in commands}
    assert set(re.findall(r"`glassgpt ([a-z]+)", README)) <= existing


def test_every_link_leads_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
