"""What scripts write into the documentation is what they write today, and the site's menu has every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import capabilities
import pictures
from site_pages import on_page_markdown

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def test_every_page_is_in_the_menu_once() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    menu = re.findall(r"^ +- (\S+\.md)$", settings, re.MULTILINE)
    assert sorted(menu) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_table_of_capabilities_is_that_of_the_code() -> None:
    """``python tools/capabilities.py`` writes it anew."""
    assert capabilities.FILE.read_text(encoding="utf-8") == capabilities.text()


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_pictures_are_those_of_their_script(name: str) -> None:
    """``python tools/pictures.py`` draws them anew."""
    drawn = pictures.PICTURES[name]()
    assert (pictures.FOLDER / name).read_text(encoding="utf-8") == drawn


def test_every_figure_is_in_the_list_of_figures() -> None:
    listed = set(re.findall(r"\]\(([a-z_]+\.md)\)", (DOCS / "figures" / "README.md").read_text()))
    assert listed == {page.name for page in (DOCS / "figures").glob("[a-z]*.md")}


def test_the_site_shows_what_a_block_is_written_in_and_no_more() -> None:
    page = "```python pytest\nx = 1\n```\n[a](../examples/app/README.md), [`tests/x`](../tests/x)"
    shown = on_page_markdown(page)
    assert shown.startswith("```python\n")
    assert shown.endswith("a (`examples/app/README.md` in the repository), `tests/x`")
    assert on_page_markdown(r"| `float \| bool` | a |") == "| `float | bool` | a |"
