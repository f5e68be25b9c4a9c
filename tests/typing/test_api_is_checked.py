"""The typed program beside this file is only worth something while the type checkers see it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_type_checkers_are_given_the_api_file() -> None:
    assert (ROOT / "tests" / "typing" / "api.py").is_file()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert "exclude" not in settings["mypy"]
    assert not {"exclude", "ignore"} & set(settings["pyright"])
    assert "tests" in settings["pyright"]["include"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"/mypy .*\btests\b", makefile)
