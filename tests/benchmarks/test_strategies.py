"""The report of strategies: sections that were not run stay, in their order."""

from __future__ import annotations

from pathlib import Path

import pytest

import strategies

pytestmark = pytest.mark.anyio


async def test_a_section_replaces_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def first(data: Path) -> str:
        return f"first on {data.name}\n\n### a part"

    async def second(data: Path) -> str:
        return f"second on {data.name}"

    sections = {
        "one": strategies.Section(title="One", make=first),
        "two": strategies.Section(title="Two", make=second),
    }
    monkeypatch.setattr(strategies, "SECTIONS", sections)
    file = tmp_path / "report.md"
    file.write_text(await strategies.report(Path("old"), ["two"], file))
    file.write_text(await strategies.report(Path("old"), ["one"], file))
    file.write_text(await strategies.report(Path("new"), ["two"], file))
    text = file.read_text()
    assert strategies.kept(file) == {"One": "first on old\n\n### a part", "Two": "second on new"}
    assert text.index("## One") < text.index("## Two")
