"""The user's configuration, ``ttc.yaml``: which deployments, what to aim for, what to keep."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from tt_compute.errors import InvalidRequestError, UnknownNameError
from tt_compute.paths import CACHE_VARIABLE, DATA_VARIABLE, cache_dir, config_dir, data_dir
from tt_compute.planning.types import Objective
from tt_compute.profiles.checking import check
from tt_compute.profiles.document import Document, Tree, child, document_of, show
from tt_compute.profiles.library import ProfileLibrary
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.profiles.yaml import load_yaml

__all__ = [
    "CONFIG_VARIABLE",
    "EMBEDDED_DEPLOYMENTS",
    "FILE_NAME",
    "Config",
    "Setting",
    "StoreSettings",
    "embedded_default",
    "starter_text",
]

FILE_NAME = "ttc.yaml"
CONFIG_VARIABLE = "TTC_CONFIG"
EMBEDDED_DEPLOYMENTS = ("local/smollm2-135m-openvino",)
"""The small local model on each CPU runtime, the best first."""

_DEFAULT = "default"


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of past runs."""

    enabled: bool = True
    keep_text: bool = False
    """Keep prompts and answers too, not only numbers and hashes."""
    max_age_days: float | None = 365.0
    """Older runs are deleted; None = no limit."""
    max_bytes: int | None = 64 * 1024 * 1024
    """Beyond it the oldest runs are deleted; None = no limit."""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shape of ``ttc.yaml``."""

    version: Literal[1] = 1
    profiles: tuple[str, ...] = ()
    deployments: tuple[object, ...] = ()
    objective: Objective = Objective()
    store: StoreSettings = StoreSettings()


class Setting(NamedTuple):
    """One effective value, for ``ttc config show``."""

    name: str
    value: Any
    origin: str


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A checked configuration; its deployments are resolved, other profiles load when asked for."""

    file: Path | None
    """None without a file."""
    library: ProfileLibrary
    deployments: tuple[DeploymentSpec, ...]
    """What the planner chooses from."""
    objective: Objective
    store: StoreSettings
    data_dir: Path
    cache_dir: Path
    origins: dict[str, str]
    """Where each effective value comes from: ``file:line``, ``default``, ``environment TTC_...``."""

    @classmethod
    def load(
        cls,
        path: Path | str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        available: Callable[[str], bool] | None = None,
    ) -> Config:
        """Find and read the configuration.

        It is ``path``, else ``TTC_CONFIG``, else ``ttc.yaml`` here, else the user's own, else none.

        Args:
            path: The file to use; it must exist.
            environ: The environment; None = the process's own.
            folder: Where "here" is; None = the working folder.
            available: Whether a backend, by name, could run here; asked only where the configuration
                names no deployments.

        Raises:
            ConfigError: It cannot be used; the first fault.
        """
        environ = os.environ if environ is None else environ
        file, origin = _find(path, environ, Path() if folder is None else folder)
        document = Document(tree={}) if file is None else load_yaml(file)
        return _make(document, file, origin, environ, available)

    @classmethod
    def from_mapping(
        cls,
        mapping: Mapping[str, object],
        *,
        environ: Mapping[str, str] | None = None,
        available: Callable[[str], bool] | None = None,
    ) -> Config:
        """The configuration that a mapping states, as ``ttc.yaml`` in the working folder would.

        Raises:
            ConfigError: It cannot be used; the first fault.
        """
        environ = os.environ if environ is None else environ
        return _make(document_of(mapping), None, "code", environ, available)

    def spec(self, deployment: str) -> DeploymentSpec:
        """A deployment by id: one of the configuration's, or any other that the library has.

        Raises:
            UnknownNameError: There is none.
            ConfigError: Its profile is wrong; the first fault.
        """
        for spec in self.deployments:
            if spec.id == deployment:
                return spec
        return self.library.resolve(deployment)

    def settings(self) -> tuple[Setting, ...]:
        """Each effective value and its origin."""
        values: dict[str, Any] = {
            "config": self.file and str(self.file),
            "profiles": [str(root) for root in self.library.roots],
            "deployments": [spec.id for spec in self.deployments],
            **{f"objective.{k}": v for k, v in msgspec.structs.asdict(self.objective).items()},
            **{f"store.{k}": v for k, v in msgspec.structs.asdict(self.store).items()},
            "data_dir": str(self.data_dir),
            "cache_dir": str(self.cache_dir),
        }
        return tuple(Setting(name, value, self.origins[name]) for name, value in values.items())


def embedded_default(available: Callable[[str], bool], library: ProfileLibrary) -> DeploymentSpec:
    """The small local model on the best local runtime that could run here.

    Where none could, the best one all the same: its error tells what to install.

    Args:
        available: Whether a backend, by name, could run here.
        library: Where the profiles are.
    """
    specs = [library.resolve(deployment) for deployment in EMBEDDED_DEPLOYMENTS]
    return next((spec for spec in specs if available(spec.backend)), specs[0])


def starter_text() -> str:
    """A commented ``ttc.yaml`` to begin with; it loads as it is."""
    return _STARTER


def _find(
    path: Path | str | None, environ: Mapping[str, str], folder: Path
) -> tuple[Path | None, str]:
    """The file to read and what named it."""
    if path is not None:
        return Path(path), "--config"
    named = environ.get(CONFIG_VARIABLE, "").strip()
    if named:
        return Path(named), f"environment {CONFIG_VARIABLE}"
    for file in (folder / FILE_NAME, config_dir(environ) / FILE_NAME):
        if file.is_file():
            return file, "found"
    return None, _DEFAULT


def _make(
    document: Document,
    file: Path | None,
    origin: str,
    environ: Mapping[str, str],
    available: Callable[[str], bool] | None,
) -> Config:
    if document.tree is None:
        document = Document(tree={}, file=document.file, lines=document.lines)
    stated = _read(document)
    base = Path() if file is None else file.parent
    library = ProfileLibrary(base / Path(folder).expanduser() for folder in stated.profiles)
    return Config(
        file=file,
        library=library,
        deployments=_deployments(document, library, available),
        objective=stated.objective,
        store=stated.store,
        data_dir=data_dir(environ),
        cache_dir=cache_dir(environ),
        origins=dict(_origins(document, stated, origin, environ)),
    )


def _read(document: Document) -> _File:
    normal, problems = check(document, _File)
    if problems:
        raise problems[0]
    objective = normal.get("objective")
    try:
        msgspec.convert(objective or {}, Objective)
    except (InvalidRequestError, msgspec.ValidationError) as exc:
        raise document.error(_objective_path(str(exc)), str(exc)) from exc
    return msgspec.convert(normal, _File)


def _objective_path(message: str) -> str:
    """Path of the value that an error of ``Objective``, which begins with its name, is about."""
    name = message.split(" ", 1)[0]
    known = {field.name for field in msgspec.structs.fields(Objective)}
    return f"objective.{name}" if name in known else "objective"


def _deployments(
    document: Document, library: ProfileLibrary, available: Callable[[str], bool] | None
) -> tuple[DeploymentSpec, ...]:
    tree = document.tree
    entries = tree.get("deployments") if isinstance(tree, dict) else None
    if entries is None:
        return (embedded_default(available or (lambda _: True), library),)
    if not isinstance(entries, list) or not entries:
        raise document.error(
            "deployments", "an empty list", hint="name at least one, or leave the key out"
        )
    specs: dict[str, DeploymentSpec] = {}
    for place, entry in enumerate(entries):
        spec = _entry(document, child("deployments", place), entry, library)
        if spec.id in specs:
            raise document.error(
                child("deployments", place), f"the deployment {show(spec.id)} stands twice"
            )
        specs[spec.id] = spec
    return tuple(specs.values())


def _entry(document: Document, path: str, entry: Tree, library: ProfileLibrary) -> DeploymentSpec:
    try:
        if isinstance(entry, str):
            return library.resolve(entry)
        return library.resolve_entry(document.part(path, entry))
    except UnknownNameError as exc:
        raise document.error(path, exc.message, hint=exc.hint) from exc


def _origins(
    document: Document, stated: _File, origin: str, environ: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    yield "config", origin
    for name in ("profiles", "deployments"):
        yield name, _origin(document, name)
    for section, value in (("objective", stated.objective), ("store", stated.store)):
        for field in msgspec.structs.fields(value):
            yield f"{section}.{field.name}", _origin(document, f"{section}.{field.name}")
    for name, variable in (("data_dir", DATA_VARIABLE), ("cache_dir", CACHE_VARIABLE)):
        set_there = environ.get(variable, "").strip()
        yield name, f"environment {variable}" if set_there else _DEFAULT


def _origin(document: Document, path: str) -> str:
    line = document.lines.get(path)
    if line is not None:
        return f"{document.file}:{line}"
    node: Tree = document.tree
    for step in path.split("."):
        node = node.get(step) if isinstance(node, dict) else None
    return _DEFAULT if node is None else "code"


_STARTER = f"""\
# {FILE_NAME}: what tt_compute may use and what it should aim for.
# `ttc config show` tells every effective value; `ttc profiles list` every id.
version: 1

# More folders with the sub-folders hardware, models and deployments:
# profiles: [./my-profiles]

# What the planner chooses from. An id, {{id: ..., override: {{...}}}}, or a whole deployment.
deployments:
  - {EMBEDDED_DEPLOYMENTS[0]}
  # - id: {EMBEDDED_DEPLOYMENTS[0]}      # the same, with two threads
  #   override: {{placement: {{threads: 2}}}}

# What a request aims for when it does not say so itself. All limits are optional.
objective:
  # quality: 0.85            # wanted P(answer correct)
  # max_latency_s: 10        # limit of the predicted p95, and the run's deadline
  # max_cost_usd: 0.002
  # max_energy_j: 500
  max_samples: 16
  locality: any              # local: prompts never leave this machine
  prefer: quality            # or cost, latency, energy

# What is kept of past runs; prompts and answers only if you say so.
store:
  keep_text: false
  max_age_days: 365
"""
