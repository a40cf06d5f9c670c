"""The refusals that docs/formats.md shows are the ones that are given."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_shows_what_is_said():
    ran = subprocess.run([sys.executable, ROOT / "scripts" / "hostile.py"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    page = (ROOT / "docs" / "formats.md").read_text()
    shown = page.partition("<!-- hostile -->\n```\n")[2].partition("```\n<!-- end -->")[0]
    assert shown == ran.stdout.rstrip() + "\n"
