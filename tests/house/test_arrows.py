"""The house's own rules: which part may import which, and how large a part may grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GROUND = {"errors", "profiles", "types"}
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "profiles": {"errors", "files"},
    "types": {"errors", "profiles"},
    "paths": {"errors", "files"},
    "files": {"errors"},
    "plotting": {"errors", "files"},
    "backend": GROUND,
    "clock": GROUND,
    "supervision": GROUND | {"backend", "results"},
    "conditions": {"profiles"},
    "secrets": GROUND | {"files"},
    "sqlite": set(),
    "task_groups": set(),
    "sampling": GROUND,
    "checks": GROUND | {"sampling"},
    "prompts": GROUND | {"sampling"},
    "registry": GROUND | {"backend"},
    "modelstore": GROUND | {"paths"},
    "stopping": {"errors"},
    "weights": GROUND | {"stopping"},
    "verify": GROUND,
    "planning": GROUND | {"conditions", "files", "sampling", "stopping", "weights"},
    "overlay": GROUND,
    "calibrated": GROUND | {"overlay"},
    "refreshed": GROUND | {"overlay"},
    "overlays": GROUND | {"calibrated", "overlay", "refreshed"},
    "simulation": GROUND | {"planning", "stopping"},
    "config_trust": GROUND,
    "dispatch_settings": GROUND,
    "config": GROUND
    | {
        "calibrated",
        "config_trust",
        "dispatch_settings",
        "files",
        "overlay",
        "overlays",
        "paths",
        "planning",
        "refreshed",
    },
    "results": GROUND | {"planning"},
    "store": GROUND | {"paths", "planning", "results", "sqlite"},
    "reporting": GROUND | {"store", "strategies"},
    "dispatch": GROUND
    | {
        "backend",
        "conditions",
        "dispatch_settings",
        "prompts",
        "registry",
        "results",
        "sqlite",
        "supervision",
    },
    "strategies": GROUND | {"backend", "dispatch", "results", "stopping", "verify", "weights"},
}
"""What each part below the client may import; client and above may import all of these."""
CLIENT_LEVEL = {
    "batch",
    "client",
    "confidences",
    "dispatch_setup",
    "execution",
    "foresight",
    "judging",
    "learning",
    "many",
    "openings",
    "options",
    "purse",
    "reading",
    "refreshing",
    "requests",
    "rungs",
    "saved_plan",
    "setup",
    "streaming",
    "sync",
    "versions",
    "vote_options",
    "watching",
}
TOP_LEVEL = {"bench", "cli", "replay", "testing", "server"}

MODULES = sorted((ROOT / "tt_compute").rglob("*.py"))
BACKENDS = sorted((ROOT / "backends").rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def part_of(module: str) -> str | None:
    names = module.split(".")
    return names[1] if names[0] == "tt_compute" and len(names) > 1 else None


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    part = path.relative_to(ROOT / "tt_compute").parts[0].removesuffix(".py")
    if part in {"__init__", "__main__", *TOP_LEVEL}:
        return
    everything_below = set(ARROWS) | CLIENT_LEVEL
    allowed = everything_below if part in CLIENT_LEVEL else ARROWS[part] | {part}
    used = {name for module in imported(path) if (name := part_of(module)) is not None}
    assert used <= allowed, f"{part} must not import {sorted(used - allowed)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_never_imports_a_backend(path: Path) -> None:
    assert not [name for name in imported(path) if name.startswith("tt_compute_backends")]


@pytest.mark.parametrize(
    "path", [*MODULES, *BACKENDS], ids=lambda path: str(path.relative_to(ROOT))
)
def test_files_and_functions_stay_short(path: Path) -> None:
    limit = 500
    if path.parent.name == "tt_compute_backends":
        limit = 250
    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit
    assert not [(name, lines) for name, lines in functions(path) if lines > 60]
