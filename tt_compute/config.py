"""The user's configuration, ``ttc.yaml``: which deployments, what to aim for, what to keep."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from tt_compute.calibrated import read_calibrated
from tt_compute.config_trust import check_destination
from tt_compute.dispatch_settings import DispatchSettings
from tt_compute.errors import ConfigError, InvalidRequestError
from tt_compute.files import expanded
from tt_compute.overlay import Overlay
from tt_compute.overlays import Overlays
from tt_compute.paths import CACHE_VARIABLE, DATA_VARIABLE, cache_dir, config_dir, data_dir
from tt_compute.planning.types import Objective
from tt_compute.profiles.checking import check
from tt_compute.profiles.document import Document, Tree, child, document_of, show
from tt_compute.profiles.library import ProfileLibrary
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.profiles.yaml import load_yaml
from tt_compute.refreshed import read_refreshed

__all__ = [
    "CONFIG_VARIABLE",
    "EMBEDDED_DEPLOYMENTS",
    "FILE_NAME",
    "Config",
    "ConfigFile",
    "Setting",
    "StoreSettings",
    "embedded_default",
    "starter_text",
]

FILE_NAME = "ttc.yaml"
CONFIG_VARIABLE = "TTC_CONFIG"
EMBEDDED_DEPLOYMENTS = ("local/smollm2-135m-openvino",)
"""The small local model on each CPU runtime, the best first."""

T = TypeVar("T")
_DEFAULT = "default"
_FOUND_HERE = "working folder"


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of past runs."""

    enabled: bool = True
    keep_text: bool = False
    """Keep prompts and answers too, not only numbers and hashes."""
    max_age_days: float | None = 365.0
    """Older runs are deleted; None = no limit."""
    max_bytes: int | None = 64 * 1024 * 1024
    """Beyond it the oldest runs are deleted; None = no limit."""

    def __post_init__(self) -> None:
        """Refuse limits that would keep nothing."""
        for name in ("max_age_days", "max_bytes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidRequestError(f"{name} must be above 0, got {value}")


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shape of ``ttc.yaml``."""

    version: Literal[1] = 1
    profiles: tuple[str, ...] = ()
    deployments: tuple[object, ...] = ()
    objective: Objective = Objective()
    store: StoreSettings = StoreSettings()
    dispatch: DispatchSettings = DispatchSettings()


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
    dispatch: DispatchSettings
    data_dir: Path
    cache_dir: Path
    chosen: bool = True
    """Whether somebody named the file, or wrote the mapping; False = it was just there."""
    overlays: Overlays = Overlays()
    """What was refreshed and measured, by deployment."""
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
        calibrated: bool = True,
        refreshed: bool = True,
    ) -> Config:
        """Find and read the configuration.

        It is ``path``, else ``TTC_CONFIG``, else ``ttc.yaml`` here, else the user's own, else none.

        Args:
            path: The file to use; it must exist.
            environ: The environment; None = the process's own.
            folder: Where "here" is; None = the working folder.
            available: Whether a backend, by name, could run here; asked only where the configuration
                names no deployments.
            calibrated: Whether what was measured takes the place of what the profiles say.
            refreshed: Whether what the services said takes it.

        Raises:
            ConfigError: It cannot be used; the first fault.
        """
        environ = os.environ if environ is None else environ
        file, origin = _find(path, environ, Path() if folder is None else folder)
        document = Document(tree={}) if file is None else load_yaml(file)
        beside = config_dir(environ) if file is None else file.parent
        made = _make(document, file, origin, environ, available)
        overlays = Overlays(
            config=file,
            refreshed=read_refreshed(beside) if refreshed else Overlay(),
            calibrated=read_calibrated(beside) if calibrated else Overlay(),
        )
        deployments = tuple(overlays.applied(spec) for spec in made.deployments)
        return msgspec.structs.replace(made, deployments=deployments, overlays=overlays)

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
        spec = self.library.resolve(deployment)
        if not self.chosen:
            check_destination(spec)
        return self.overlays.applied(spec)

    def settings(self) -> tuple[Setting, ...]:
        """Each effective value and its origin; of a deployment, what is not as its profile says."""
        values: dict[str, Any] = {
            "config": self.file and str(self.file),
            "profiles": [str(root) for root in self.library.roots],
            "deployments": [spec.id for spec in self.deployments],
            **{f"objective.{k}": v for k, v in msgspec.structs.asdict(self.objective).items()},
            **{f"store.{k}": v for k, v in msgspec.structs.asdict(self.store).items()},
            **{f"dispatch.{k}": v for k, v in msgspec.structs.asdict(self.dispatch).items()},
            "data_dir": str(self.data_dir),
            "cache_dir": str(self.cache_dir),
        }
        own = (Setting(name, value, self.origins[name]) for name, value in values.items())
        overlaid = (
            Setting(*one) for spec in self.deployments for one in self.overlays.values(spec)
        )
        return (*own, *overlaid)


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
    """A commented ``ttc.yaml`` to begin with; it loads as it is and says what the default says."""
    return _STARTER


def _find(
    path: Path | str | None, environ: Mapping[str, str], folder: Path
) -> tuple[Path | None, str]:
    """The configuration's file, and why that one."""
    named = environ.get(CONFIG_VARIABLE, "")
    if path is not None:
        return _existing(Path(path), "argument")
    if named:
        return _existing(expanded(named), f"environment {CONFIG_VARIABLE}")
    for place, origin in ((folder, _FOUND_HERE), (config_dir(environ), "user's folder")):
        if (place / FILE_NAME).is_file():
            return place / FILE_NAME, origin
    return None, "none found"


def _existing(file: Path, origin: str) -> tuple[Path, str]:
    if not os.path.exists(file):  # noqa: PTH110 - of a name that is too long pathlib raises an error
        hint = "write one with `ttc init`, or leave the choice to tt_compute"
        raise ConfigError(f"there is no such file ({origin})", file=file, hint=hint)
    return file, origin


def _make(
    document: Document,
    file: Path | None,
    origin: str,
    environ: Mapping[str, str],
    available: Callable[[str], bool] | None,
) -> Config:
    normal, problems = check(document, ConfigFile)
    if problems:
        raise problems[0]
    objective = _section(document, normal, "objective", Objective)
    store = _section(document, normal, "store", StoreSettings)
    library = _library(document, normal)
    deployments = _deployments(document, library, available or (lambda _backend: True))
    chosen = origin != _FOUND_HERE
    if not chosen:
        for spec in deployments:
            check_destination(spec)
    return Config(
        file=file,
        library=library,
        deployments=deployments,
        chosen=chosen,
        objective=objective,
        store=store,
        dispatch=_section(document, normal, "dispatch", DispatchSettings),
        data_dir=data_dir(environ),
        cache_dir=cache_dir(environ),
        origins={
            "config": origin,
            "profiles": _origin(document, "profiles"),
            "deployments": _origin(document, "deployments"),
            **_section_origins(document, "objective", Objective),
            **_section_origins(document, "store", StoreSettings),
            **_section_origins(document, "dispatch", DispatchSettings),
            "data_dir": _variable_origin(environ, DATA_VARIABLE),
            "cache_dir": _variable_origin(environ, CACHE_VARIABLE),
        },
    )


def _section(document: Document, normal: dict[str, Tree], name: str, struct: type[T]) -> T:
    """A section of the right types; each value is tried by itself, so that the error has its place."""
    section = normal.get(name, {})
    assert isinstance(section, dict)
    for key, value in section.items():
        try:
            msgspec.convert({key: value}, struct)
        except InvalidRequestError as exc:
            raise document.error(f"{name}.{key}", exc.message) from exc
    return msgspec.convert(section, struct)


def _library(document: Document, normal: dict[str, Tree]) -> ProfileLibrary:
    here = Path() if document.file is None else Path(document.file).parent
    listed = normal.get("profiles", [])
    assert isinstance(listed, list)
    folders = [here / expanded(str(folder)) for folder in listed]
    for i, folder in enumerate(folders):
        # Of a name that is too long pathlib raises an error.
        if not os.path.isdir(folder):  # noqa: PTH112 - as said
            raise document.error(child("profiles", i), f"there is no folder {folder}")
    try:
        return ProfileLibrary(folders)
    except ConfigError as exc:
        raise document.error("profiles", str(exc), hint=exc.hint) from exc


def _deployments(
    document: Document, library: ProfileLibrary, available: Callable[[str], bool]
) -> tuple[DeploymentSpec, ...]:
    stated = _keys(document.tree).get("deployments", ())
    if isinstance(stated, tuple):
        return (embedded_default(available, library),)
    if not stated or not isinstance(stated, list):
        raise document.error(
            "deployments",
            f"expected at least one deployment, got {'an empty list' if stated == [] else show(stated)}",
            hint="leave the key out for the embedded default",
        )
    by_id: dict[str, DeploymentSpec] = {}
    for i, entry in enumerate(stated):
        path = child("deployments", i)
        spec = library.resolve_entry(document.part(path, entry))
        if spec.id in by_id:
            raise document.error(path, f"deployment {spec.id!r} is listed twice")
        by_id[spec.id] = spec
    return tuple(by_id.values())


def _keys(tree: Tree) -> dict[str, Tree]:
    assert isinstance(tree, dict)
    return tree


def _origin(document: Document, path: str) -> str:
    """Where a value that may be stated was stated."""
    node = document.tree
    for key in path.split("."):
        if not isinstance(node, dict) or key not in node:
            return _DEFAULT
        node = node[key]
    place = document.place(path)
    return "code" if place.file is None else f"{place.file}:{place.line}"


def _section_origins(document: Document, name: str, struct: type[msgspec.Struct]) -> dict[str, str]:
    paths = (f"{name}.{field.name}" for field in msgspec.structs.fields(struct))
    return {path: _origin(document, path) for path in paths}


def _variable_origin(environ: Mapping[str, str], variable: str) -> str:
    return f"environment {variable}" if environ.get(variable) else _DEFAULT


_STARTER = """\
# Configuration of tt_compute. Found by --config, TTC_CONFIG, ./ttc.yaml, then the user's own folder.
# `ttc config show` prints each effective value and where it comes from.
version: 1

# What the planner chooses from: ids (see `ttc profiles list`), whole deployments, or
# {id: ..., override: {...}} to change some values of one.
deployments:
  - local/smollm2-135m-openvino
  # - id: local/smollm2-135m-openvino
  #   override:
  #     id: local/exact
  #     options: {reproducible: true}      # the same samples whatever runs beside them

# More folders with profiles, each with hardware/, models/ and deployments/.
# profiles: [./my-profiles]

# What every request should reach, unless it says otherwise. A limit left out does not bind.
objective:
  # quality: 0.85                          # wanted P(answer correct)
  # max_latency_s: 10
  # max_cost_usd: 0.002
  # max_energy_j: 500
  max_samples: 16
  locality: any                            # local = prompts stay on this machine
  prefer: quality                          # quality, cost, latency or energy

# What is kept of past runs, which is what predictions learn from.
store:
  enabled: true
  keep_text: false                         # true = prompts and answers too, not only numbers
  max_age_days: 365
  max_bytes: 67108864

# How requests reach services that fail, limit and bill.
dispatch:
  max_wait_s: 60                           # longest wait for a rate limit or a Retry-After
  hedge_share: 0                           # share of slow attempts that a second deployment is asked too
  # max_usd: 5                             # most that one client spends
  # max_usd_per_day: 20                    # most that all clients of this user spend in 24 hours
  share_limits: true                       # with other processes of this user
"""
