"""What strategies are worth on recorded samples of real models, a section for each kind.

    python benchmarks/strategies.py --data FOLDER [--section code] --output docs/figures/strategies.md

Each section is a module ``strategies_NAME`` with a ``TITLE`` and ``async def section(data: Path) -> str``, whose
text begins with its date, machine and versions; sections that are not run stay in the file as they are.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

import strategies_code
import strategies_votes
from report import write

HEAD = """# Strategies

What each strategy makes of recorded samples of real models: accuracy, samples, tokens.
Every section was run by `python benchmarks/strategies.py`, with its peers in the same run."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the report."""

    title: str
    make: Callable[[Path], Awaitable[str]]


SECTIONS = {
    "votes": Section(title=strategies_votes.TITLE, make=strategies_votes.section),
    "code": Section(title=strategies_code.TITLE, make=strategies_code.section),
}
"""In the order of the report."""


def kept(file: Path | None) -> dict[str, str]:
    """Title -> text of the sections that a report has."""
    if file is None or not file.exists():
        return {}
    _, *parts = re.split(r"^## ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {title: text.strip() for title, _, text in (part.partition("\n") for part in parts)}


async def report(data: Path, names: list[str], file: Path | None) -> str:
    texts = kept(file)
    for name in names:
        section = SECTIONS[name]
        texts[section.title] = await section.make(data)
    ordered = [section.title for section in SECTIONS.values() if section.title in texts]
    return "\n\n".join([HEAD, *(f"## {title}\n\n{texts[title]}" for title in ordered)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the recorded samples")
    parser.add_argument("--section", choices=SECTIONS, action="append", help="default: all")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    names = options.section or list(SECTIONS)
    write(options.output, asyncio.run(report(options.data, names, options.output)))


if __name__ == "__main__":
    main()
