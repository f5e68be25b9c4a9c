"""What mkdocs does to our pages so that they read the same on a code host and on the site."""

from __future__ import annotations

import re

__all__ = ["on_page_markdown"]

FENCE = re.compile(r"^(```\w+)[ \t][^\n]+$", re.MULTILINE)
BAR = re.compile(r"`[^`\n]*\\\|[^`\n]*`")
OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+((?:examples|benchmarks|tools|tests)[^)]*)\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by mkdocs with the text of each page.

    What stands behind the language of a block is for the test that runs it. Files beside ``docs`` are not on
    the site; a link to one becomes its path. A bar inside code needs its backslash in a table on a code host alone.
    """
    without_notes = FENCE.sub(r"\1", markdown)
    return BAR.sub(lambda code: code[0].replace(r"\|", "|"), OUTSIDE.sub(_path, without_notes))


def _path(link: re.Match[str]) -> str:
    text, path = link.groups()
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}` in the repository)"
