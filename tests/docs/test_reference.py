"""The reference tables of the documentation say what the code has, no more and no less."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import click
import msgspec
import pytest
from anyio.lowlevel import checkpoint

import tt_compute
import tt_compute as tt
from tt_compute import errors
from tt_compute.cli.commands import cli
from tt_compute.cli.main import main
from tt_compute.client import AsyncClient, Client
from tt_compute.config import Config, StoreSettings
from tt_compute.dispatch_settings import DispatchSettings
from tt_compute.errors import ConfigError, TTComputeError
from tt_compute.options import SolveOptions
from tt_compute.planning.types import Objective
from tt_compute.profiles.schema import (
    DeploymentProfile,
    Fact,
    HardwareProfile,
    ModelProfile,
    TaskKind,
    Ttft,
)
from tt_compute.registry import Registry
from tt_compute.results import Result, StopReason
from tt_compute.setup import STORE_FILE
from tt_compute.stopping import SCORE_RULES, STOP_RULES
from tt_compute.strategies import NAMES
from tt_compute.strategies.naming import family
from tt_compute.testing import assertions, plugin
from tt_compute.testing.mock_faults import FaultKind
from tt_compute.testing.mock_options import MockOptions
from tt_compute.testing.mock_quantities import Distribution
from tt_compute.testing.mock_questions import Rates
from tt_compute.testing.scenario import Scenario
from tt_compute.testing.subject import Subject
from tt_compute.types import Capabilities
from ttc_servers import ChatServer
from ttc_servers.thread import in_thread

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUR_BACKENDS = [
    registration.name
    for registration in Registry().describe()
    if registration.distribution.startswith("tt-compute ")
]

Rows = dict[str, list[str]]
"""Name in backticks -> the cells behind it."""


# --- reading a page ------------------------------------------------------------------------------


FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def section(page: str, heading: str = "") -> str:
    """What stands below a heading, its sub-sections included; of the page without one. No examples."""
    text = FENCED.sub("", (DOCS / page).read_text(encoding="utf-8"))
    if not heading:
        return text
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found is not None, f"{page} has no heading {heading!r}"
    body = text[found.end() :]
    following = re.search(rf"^#{{1,{len(found[1])}}} ", body, re.MULTILINE)
    return body[: following.start()] if following else body


def tables(text: str) -> Iterator[list[list[str]]]:
    """The cells of every table, line by line."""
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        yield [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
            for line in table.splitlines()
        ]


def rows(text: str, header: str) -> Rows:
    """The rows of every table whose first column is called ``header``."""
    found: Rows = {}
    for lines in tables(text):
        if lines[0][0] == header:
            for name, *cells in lines[2:]:
                for word in re.findall(r"`([^`]+)`", name):
                    assert word not in found or header == "key", f"{word} is described twice"
                    found[word] = cells
    return found


@pytest.mark.parametrize("page", sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")))
def test_table_rows_have_as_many_cells_as_their_header(page: str) -> None:
    """A bar inside a cell, which would end it, stands behind a backslash."""
    for table in tables(section(page)):
        assert {len(line) for line in table} == {len(table[0])}, table[0]


# --- the command line ----------------------------------------------------------------------------


def commands(group: click.Group = cli, path: str = "ttc") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def parameters(command: click.Command) -> set[str]:
    """Long names of options, and what arguments are called."""
    names: set[str] = set()
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            names.add(parameter.human_readable_name)
        else:
            names |= {name for name in parameter.opts if name.startswith("--")}
    return names


COMMANDS = dict(commands())
COMMON = set[str].intersection(*map(parameters, COMMANDS.values()))


def test_every_command_has_a_section() -> None:
    """A command has a heading of its own, and no heading names another one."""
    headings = re.findall(r"^## `(ttc [a-z ]+)`$", section("cli.md"), re.MULTILINE)
    assert sorted(headings) == sorted(COMMANDS)


def test_common_options_are_described_once() -> None:
    """What every command takes stands in one place."""
    described = rows(section("cli.md", "Common options"), "option")
    assert set(described) - {"--help"} == COMMON


@pytest.mark.parametrize("path", COMMANDS)
def test_options_are_those_of_the_command(path: str) -> None:
    """A command's own options and arguments; `plan` takes those of `solve`."""
    described = set(rows(section("cli.md", f"`{path}`"), "option"))
    own = parameters(COMMANDS[path]) - COMMON
    if path == "ttc plan":
        described |= set(rows(section("cli.md", "`ttc solve`"), "option"))
    assert described == own


CONFIG = """\
version: 1
profiles: [./my-profiles]
deployments: [mock, mock/strong]
"""
CLOUD = """\
deployments:
  - id: cloud
    backend: openai
    model: {{id: model-a}}
    hardware: {{id: far, local: false}}
    endpoint: {{base_url: "{url}"}}
    options: {{server: sambanova}}
"""
WEIGHTS = b"GGUF"
MODEL = f"""\
kind: model
id: four-bytes
weights:
  - format: gguf
    file: four.gguf
    bytes: {len(WEIGHTS)}
    sha256: {hashlib.sha256(WEIGHTS).hexdigest()}
    dtype: q4_1
    sources: []
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a configuration, a store and a cache of its own."""
    (tmp_path / "ttc.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "questions.jsonl").write_text(
        '{"question": "6 * 7?", "gold": "42"}\n', encoding="utf-8"
    )
    (tmp_path / "scenario.yaml").write_text("deployments: [{id: mine}]", encoding="utf-8")
    (tmp_path / "samples.jsonl").write_text(
        '{"question_id": "q", "gold": "a", "samples": ["a", null]}\n', encoding="utf-8"
    )
    models = tmp_path / "my-profiles" / "models"
    models.mkdir(parents=True)
    (models / "four.yaml").write_text(MODEL, encoding="utf-8")
    entry = tmp_path / "cache" / "models" / hashlib.sha256(WEIGHTS).hexdigest()[:16]
    entry.mkdir(parents=True)
    (entry / "four.gguf").write_bytes(WEIGHTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TTC_CONFIG", raising=False)
    monkeypatch.setenv("TTC_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TTC_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def keys(document: object, skipped: frozenset[str]) -> set[str]:
    """Every key of a JSON document, but those below the skipped ones."""
    if isinstance(document, list):
        items = cast("list[object]", document)
        return set[str]().union(*(keys(item, skipped) for item in items))
    if not isinstance(document, dict):
        return set()
    members = cast("dict[str, object]", document)
    inside = (keys(value, skipped) for name, value in members.items() if name not in skipped)
    return set(members).union(*inside)


DOCUMENTS: dict[str, tuple[list[str], set[str]]] = {
    "ttc solve": (["6 times 7?", "--seed=1", "--max-samples=2"], {"plan", "predicted"}),
    "ttc plan": (["6 times 7?", "--locality=local", "--prefer=latency"], set()),
    "ttc backends": ([], set()),
    "ttc profiles list": ([], set()),
    "ttc profiles schema": (["config", "--path"], set()),
    "ttc profiles validate": ([], set()),
    "ttc profiles refresh": (["--deployment", "cloud", "--config", "cloud.yaml"], set()),
    "ttc models list": ([], set()),
    "ttc models pull": (["four-bytes"], set()),
    "ttc bench": (["--deployment", "mock", "--waves", "1", "--rounds", "1"], set()),
    "ttc calibrate": (["--deployment", "mock", "--dry-run"], set()),
    "ttc simulate": (
        ["--deployment=mock/strong", "--requests=20", "--sweep"],
        {"predicted"},
    ),
    "ttc report": (["--mock"], set()),
    "ttc estimates show": (["--mock"], set()),
    "ttc estimates export": (["learned.json", "--mock"], set()),
    "ttc estimates import": (["elsewhere.json"], set()),
    "ttc estimates reset": (["--yes"], set()),
    "ttc record": (
        ["new.jsonl", "--questions=questions.jsonl", "--deployment=mock", "--samples=2"],
        set(),
    ),
    "ttc replay": (["samples.jsonl"], set()),
    "ttc mock serve": (["scenario.yaml"], set()),
    "ttc doctor": ([], set()),
    "ttc init": (["fresh.yaml"], set()),
    "ttc config show": ([], set()),
    "ttc store info": ([], set()),
    "ttc store purge": (["--yes"], set()),
}
"""Command -> arguments, and keys whose insides are described elsewhere."""


def teach(folder: Path) -> None:
    """Runs of another version and of this one, and another store's evidence."""
    learned = folder / "elsewhere.json"
    with tt.Client() as client:
        for _ in range(2):
            client.feedback(client.solve("6 times 7?", strategy="majority").id, correct=True)
    run_quietly("estimates", "export", str(learned), "--mock")
    learned.write_text(re.sub(r'"origin": "\w+"', '"origin": "0123"', learned.read_text()))
    run_quietly("estimates", "import", str(learned))
    with sqlite3.connect(folder / "data" / STORE_FILE) as connection:
        connection.execute("UPDATE receipts SET weights = 'older' WHERE number = 1")
    connection.close()


def run_quietly(*arguments: str) -> None:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main(arguments)


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    with contextlib.suppress(SystemExit):
        main(arguments)
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.parametrize("path", COMMANDS)
def test_json_keys_are_those_of_the_document(
    path: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`profiles show` prints a profile, whose fields stand in the page about profiles."""
    described = set(rows(section("cli.md", f"`{path}`"), "key"))
    if path == "ttc profiles show":
        assert described == set()
        return
    if path == "ttc report":
        with tt.Client() as client:
            client.feedback(client.solve("6 times 7?", strategy="majority").id, correct=True)
    if path == "ttc mock serve":
        monkeypatch.setattr("tt_compute.cli.mock._until_interrupted", checkpoint)
    if path.startswith("ttc estimates"):
        teach(folder)
    arguments, skipped = DOCUMENTS[path]
    with in_thread(lambda: ChatServer("sambanova", key=None)) as server:
        (folder / "cloud.yaml").write_text(CLOUD.format(url=server.base_url), encoding="utf-8")
        document = run([*path.split()[1:], *arguments, "--json"], capsys)
    wanted = keys(document, frozenset(skipped))
    if path == "ttc plan":
        wanted |= keys(
            run(["plan", "6 times 7?", "--strategy=cascade", "--json"], capsys), frozenset()
        )
    assert described == wanted - {"error"}


def test_error_keys_are_those_of_the_document(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a failed command prints."""
    document = run(["solve", "6 times 7?", "--strict", "--quality=0.9999", "--json"], capsys)
    assert set(rows(section("cli.md", "With --json"), "key")) == keys(document, frozenset())


# --- configuration and profiles ------------------------------------------------------------------

LEAVES: dict[Any, str] = {
    Fact: "fact",
    Ttft: "ttft",
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    str | ModelProfile: "id or mapping",
    str | HardwareProfile: "id or mapping",
    float | Distribution: "quantity",
    float | Rates: "number or rates",
    dict[str, object]: "mapping",
    tuple[str, ...]: "list of text",
    tuple[int, ...]: "list of integer",
}
"""Type in the code -> its name in a table."""


def fields(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(path, type) of every value that a mapping may state, as a table names it."""
    for field in msgspec.structs.fields(struct):
        yield from paths(_plain(field.type), f"{prefix}{field.name}", _suffix(field))


def paths(kind: Any, path: str, suffix: str) -> Iterator[tuple[str, str]]:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in LEAVES:
        yield path, LEAVES[kind] + suffix
    elif origin is Literal:
        yield path, ", ".join(f"`{value}`" for value in arguments) + suffix
    elif origin is dict:
        yield from paths(arguments[1], f"{path}.*", "")
    elif origin is tuple:
        for member in get_args(arguments[0]) or arguments[:1]:
            if member is str:
                yield path, "list of texts"
            else:
                yield from fields(member, f"{path}[].")
    else:
        yield from fields(kind, f"{path}.")


def _plain(kind: Any) -> Any:
    """A type without ``None`` and annotations."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if NoneType not in get_args(kind):
        return kind
    first, *others = (member for member in get_args(kind) if member is not NoneType)
    for other in others:
        first |= other
    return _plain(first)


def _suffix(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "; required"
    stated = isinstance(field.default, str | int | float) and field.default != ""
    return f"; default {_shown(field.default)}" if stated else ""


def _shown(value: object) -> str:
    """A default as a table shows it."""
    if value is None:
        return "none"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


@pytest.mark.parametrize(
    ("heading", "struct"),
    [
        ("Facts", Fact),
        ("Hardware", HardwareProfile),
        ("Models", ModelProfile),
        ("Deployments", DeploymentProfile),
    ],
)
def test_profile_fields_are_those_of_the_schema(heading: str, struct: type[msgspec.Struct]) -> None:
    """Every field of a profile, with its type and default."""
    described = rows(section("configuration.md", heading), "field")
    assert {path: cells[0] for path, cells in described.items()} == dict(fields(struct))


def test_keys_of_the_configuration_are_those_of_the_loader() -> None:
    """Every key of ``ttc.yaml``, with its default."""
    with pytest.raises(ConfigError) as refusal:
        Config.from_mapping({"zzz": 1}, environ={})
    known = set(str(refusal.value.hint).removeprefix("known: ").split(", "))
    sections: dict[str, type[msgspec.Struct]] = {
        "objective": Objective,
        "store": StoreSettings,
        "dispatch": DispatchSettings,
    }
    wanted = {
        f"{name}.{field.name}": _shown(field.default).replace(".0`", "`")
        for name, struct in sections.items()
        for field in msgspec.structs.fields(struct)
    }
    described = rows(section("configuration.md", "Keys"), "key")
    assert {key: cells[1] for key, cells in described.items() if "." in key} == wanted
    assert {key for key in described if "." not in key} | set(sections) == known


def test_variables_are_those_of_the_code() -> None:
    """Every variable of ours that the code reads."""
    sources = [*(ROOT / "tt_compute").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]
    read = {
        name
        for source in sources
        for name in re.findall(r"\"(TTC_[A-Z_]+)\"", source.read_text(encoding="utf-8"))
    }
    assert set(rows(section("configuration.md", "Variables"), "variable")) == read


# --- backends ------------------------------------------------------------------------------------

OPTION_PAGES = {
    "mock": ("testing.md", "Options"),
    **{
        name: ("configuration.md", f"Options of `{name}`")
        for name in ("openvino", "onnxruntime", "torch", "groq", "cerebras", "openai")
    },
}


def test_every_backend_is_in_the_table_of_backends() -> None:
    """What comes with tt_compute, and nothing else."""
    assert set(rows(section("backends.md", "What is there"), "backend")) == set(OUR_BACKENDS)


@pytest.mark.parametrize("name", OUR_BACKENDS)
def test_options_are_those_of_the_backend(name: str) -> None:
    """Every option of a deployment, with its type and default."""
    described = rows(section(*OPTION_PAGES[name]), "option")
    wanted = {
        path: kind
        for path, kind in fields(Registry().load(name).Options)
        if not path.startswith("rules[].answers[].")  # described with `answers`
    }
    assert {path: cells[0] for path, cells in described.items()} == wanted


def test_keys_of_a_scenario_are_described() -> None:
    """Every key of a scenario and of its deployments, but the mock's options."""
    described = rows(section("testing.md", "Scenarios"), "key")
    options = set(MockOptions.__struct_fields__)
    wanted = {
        path: kind
        for path, kind in fields(Scenario)
        if path.removeprefix("deployments[].").partition(".")[0].partition("[")[0] not in options
        or not path.startswith("deployments[].")
    }
    assert {path: cells[0] for path, cells in described.items()} == wanted


def test_faults_of_the_mock_are_described() -> None:
    """Every kind of fault."""
    described = rows(section("testing.md", "Faults"), "fault")
    assert set(described) == set(get_args(FaultKind))


def test_fixtures_of_the_plugin_are_described() -> None:
    """Every public fixture."""
    described = rows(section("testing.md", "With pytest"), "fixture")
    assert set(described) == {name for name in vars(plugin) if re.fullmatch(r"ttc_\w+", name)}


def test_assertions_are_described() -> None:
    """Every assertion, with the names of its arguments."""
    described = rows(section("testing.md", "Assertions"), "assertion")
    assert set(described) == set(assertions.__all__)
    named = ("assert_plan", "assert_samples", "assert_fell_back")
    for name in named:
        wanted = inspect.signature(getattr(assertions, name)).parameters
        stated = set(re.findall(r"`(\w+)`", described[name][0]))
        assert stated == set(wanted) - {"decided", "result"}, name


def test_capabilities_are_described() -> None:
    """Every ability with the values it takes."""
    described = rows(section("testing.md", "Capabilities"), "capability")
    wanted = {path: kind.partition(";")[0] for path, kind in fields(Capabilities)}
    assert {name: cells[0] for name, cells in described.items()} == wanted


def test_fields_of_a_conformance_subject_are_described() -> None:
    """Every field of what the kit runs on."""
    described = rows(section("testing.md", "A backend of your own"), "field of `Subject`")
    assert set(described) == {field.name for field in msgspec.structs.fields(Subject)}


# --- the SDK, errors and strategies --------------------------------------------------------------


def test_public_names_are_those_of_the_package() -> None:
    """Every name of ``tt_compute``."""
    assert set(rows(section("sdk.md"), "name")) == set(tt_compute.__all__)


def test_methods_are_those_of_the_clients() -> None:
    """Every public method and property of both clients."""
    wanted = {name for kind in (AsyncClient, Client) for name in dir(kind) if name[0] != "_"}
    assert set(rows(section("sdk.md", "Reference"), "method")) == wanted


def test_fields_of_a_result_are_described() -> None:
    """Every field of ``Result``."""
    described = rows(section("sdk.md", "Solve"), "field")
    assert set(described) == {field.name for field in msgspec.structs.fields(Result)}


def test_options_of_a_request_are_described() -> None:
    """Every option of ``solve``."""
    described = rows(section("sdk.md", "Say what you want"), "option")
    assert set(described) == set(SolveOptions.__annotations__)


def test_errors_are_those_of_the_code() -> None:
    """Every class with its base, exit code and whether it is worth another attempt."""
    described = rows(section("errors.md"), "error")
    wanted: dict[str, list[str]] = {}
    for name in errors.__all__:
        kind: type[TTComputeError] = getattr(errors, name)
        retryable = "yes" if kind.retryable else "no"
        wanted[name] = [f"`{kind.__bases__[0].__name__}`", str(kind.exit_code), retryable]
    assert {name: cells[:3] for name, cells in described.items()} == wanted
    assert all(cells[3] for cells in described.values())


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("strategy", set(NAMES)),
        ("stop rule", {*STOP_RULES, *SCORE_RULES}),
        ("stop reason", set(get_args(StopReason))),
        ("task", set(get_args(TaskKind))),
    ],
)
def test_names_of_strategies_are_described(header: str, wanted: set[str]) -> None:
    """Every strategy, stop rule, stop reason and kind of task."""
    # A name with its parameters behind it is an example of it.
    described = {family(name) for name in rows(section("strategies.md"), header)}
    assert described == wanted
