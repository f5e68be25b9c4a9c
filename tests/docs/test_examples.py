"""Every example in the documentation runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tt_compute.config import Config
from tt_compute.profiles.library import FOLDERS, ProfileLibrary
from tt_compute.profiles.validation import validate
from tt_compute.registry import Registry, parse_options
from tt_compute.testing.scenario import Scenario

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONFIG = """\
version: 1
deployments: [mock]
"""
QUESTIONS = """\
{"question": "What is 6 times 7?", "gold": "42"}
{"question": "What is 12 minus 5?", "gold": "7"}
"""
TESTS = "pytest"
"""Behind the language of a block that is a test module."""
NOT_RUN = "not-run"
"""Behind the language of a block that needs what a test may not use; the reason stands behind it."""


FOLDER_BY_FIRST_LINE = {f"kind: {kind}": folder for kind, folder in FOLDERS.items()}
PROFILES = "my-profiles"
"""Folder that holds the profiles of a page, as the page's ``ttc.yaml`` may name it."""


def blocks(language: str, *pages: Path, tests: bool = False) -> list[ParameterSet]:
    found: list[ParameterSet] = []
    for page in pages or PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            if match[1] == language and NOT_RUN not in match[2] and tests == (TESTS in match[2]):
                name = f"{page.relative_to(ROOT)}:{line}"
                found.append(pytest.param(match[3], id=name))
    return found


def yaml_pages() -> list[ParameterSet]:
    return [
        pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if blocks("yaml", page)
    ]


SCENARIO = "# scenario.yaml"
"""First line of a scenario; the one of a page is there when its examples run."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ttc.yaml").write_text(CONFIG, encoding="utf-8")
    for block in blocks("yaml"):
        if str(block.values[0]).startswith(SCENARIO):
            (tmp_path / "scenario.yaml").write_text(str(block.values[0]), encoding="utf-8")
    (tmp_path / "questions.jsonl").write_text(QUESTIONS, encoding="utf-8")
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ,
        "TTC_DATA_DIR": str(folder / "data"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    environ.pop("TTC_CONFIG", None)
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(code: str, folder: Path) -> None:
    done = run([sys.executable, "-c", code], folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", blocks("python", tests=True))
def test_examples_of_tests_pass(code: str, folder: Path) -> None:
    (folder / "test_example.py").write_text(code, encoding="utf-8")
    plugins = ("-p", "tt_compute.testing.plugin", "-p", "no:cacheprovider")
    done = run([sys.executable, "-m", "pytest", *plugins, "test_example.py"], folder)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("session", blocks("console"))
def test_console_examples_run(session: str, folder: Path) -> None:
    commands = [line[2:] for line in session.splitlines() if line.startswith("$ ")]
    assert commands, "a console block shows commands behind `$ `"
    for command in commands:
        done = run(shlex.split(command), folder)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.parametrize("page", yaml_pages())
def test_yaml_examples_load(page: Path, tmp_path: Path) -> None:
    """The profiles of a page are one folder; every configuration loads beside it, options included."""
    configurations: list[Path] = []
    for name in FOLDERS.values():
        (tmp_path / PROFILES / name).mkdir(parents=True)
    for number, block in enumerate(blocks("yaml", page)):
        text = str(block.values[0])
        first = text.partition("\n")[0]
        if first == SCENARIO:
            Scenario.parse(text, file=str(block.id))
            continue
        if first == "# ttc.yaml":
            file = tmp_path / f"{number}.yaml"
            configurations.append(file)
        else:
            folder = FOLDER_BY_FIRST_LINE.get(first)
            assert folder, f"{block.id}: begins with neither `# ttc.yaml` nor `kind: ...`"
            file = tmp_path / PROFILES / folder / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
    for file in configurations:
        _use(Config.load(file, environ={}))
    library = Config.from_mapping({"profiles": [str(tmp_path / PROFILES)]}, environ={}).library
    findings = validate([tmp_path / PROFILES], library=library, today=date(2026, 11, 21))
    assert [str(error) for error in findings.errors] == []
    _use(Config.from_mapping(_every_deployment(library, tmp_path / PROFILES), environ={}))


def _every_deployment(library: ProfileLibrary, folder: Path) -> dict[str, object]:
    mine = [
        name
        for name in library.ids("deployment")
        if folder in library.file("deployment", name).parents
    ]
    return {"profiles": [str(folder)], **({"deployments": mine} if mine else {})}


def _use(config: Config) -> None:
    """Ask the backends what they make of the deployments' options."""
    registry = Registry()
    for spec in config.deployments:
        parse_options(registry.load(spec.backend), spec)


def test_links_between_pages_lead_somewhere() -> None:
    """A link leads to a file that is there and, with an anchor, to a heading of it."""
    link = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
    broken = [
        f"{page.relative_to(ROOT)}: {target}#{anchor}"
        for page in PAGES
        for target, anchor in link.findall(page.read_text(encoding="utf-8"))
        if not _leads_somewhere(page.parent / target if target else page, anchor)
    ]
    assert broken == []


def _leads_somewhere(target: Path, anchor: str) -> bool:
    if not anchor or not target.is_file():
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    # As GitHub makes anchors of headings.
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return anchor in anchors


def test_parts_of_the_template_are_quoted_as_they_are() -> None:
    """Blocks that the tutorial takes from the backend template stand in it, line for line."""
    template = ROOT / "examples" / "backend-template"
    sources = [file.read_text(encoding="utf-8") for file in template.rglob("*.py")]
    sources.append((template / "pyproject.toml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "tutorials" / "write-a-backend.md").read_text(encoding="utf-8")
    quoted = [
        code
        for language, info, code in BLOCK.findall(page)
        if NOT_RUN in info or language == "toml"
        if language in {"python", "toml"}
    ]
    assert len(quoted) == 5
    assert [code for code in quoted if not any(code in source for source in sources)] == []
