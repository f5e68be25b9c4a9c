"""All profiles there are, by id: the shipped ones and the user's folders; parsed when asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from tt_compute.errors import ConfigError, UnknownNameError
from tt_compute.files import expanded
from tt_compute.profiles.checking import build, check, suggestion
from tt_compute.profiles.document import Document, Tree, document_of, overridden, show
from tt_compute.profiles.schema import (
    DeploymentProfile,
    DeploymentSpec,
    HardwareProfile,
    ModelProfile,
)
from tt_compute.profiles.yaml import MAX_BYTES, load_yaml

__all__ = ["FOLDERS", "Kind", "ProfileLibrary", "profile_files", "shipped_root"]

Kind = Literal["hardware", "model", "deployment"]
FOLDERS: Mapping[Kind, str] = {
    "hardware": "hardware",
    "model": "models",
    "deployment": "deployments",
}
"""Sub-folder of a profile folder, by what it holds."""

_SUFFIXES = (".yaml", ".yml")
_ID_LINE = re.compile(
    rb"^id:[ \t]+(?P<quote>[\"']?)(?P<id>[A-Za-z0-9][\w.:@/+-]*)(?P=quote)[ \t]*(?:#.*)?\r?$",
    re.MULTILINE,
)


class _Found(NamedTuple):
    file: Path
    line: int | None


def shipped_root(package: Path | None = None) -> Path:
    """Folder of the profiles that come with tt_compute: inside a wheel, or beside it in a checkout.

    Args:
        package: Folder of the import package; None = the running one.
    """
    if package is None:
        package = Path(str(resources.files("tt_compute")))
    packaged = package / "_profiles"
    return packaged if packaged.is_dir() else package.parent / "profiles"


def profile_files(root: Path, kind: Kind) -> tuple[Path, ...]:
    """Every YAML file of one kind below a profile folder, sorted."""
    folder = root / FOLDERS[kind]
    return tuple(
        sorted(file for file in folder.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
    )


class ProfileLibrary:
    """Profiles by id.

    Args:
        folders: More folders with the sub-folders ``hardware``, ``models`` and ``deployments``.
        shipped: The first folder; None = the one that comes with tt_compute.

    Raises:
        ConfigError: A folder has none of the sub-folders.
    """

    def __init__(self, folders: Iterable[Path] = (), *, shipped: Path | None = None) -> None:
        by_place = {
            root.resolve(): root
            for root in (shipped_root() if shipped is None else shipped, *folders)
        }
        self.roots: tuple[Path, ...] = tuple(by_place.values())
        for root in self.roots:
            if not any((root / name).is_dir() for name in FOLDERS.values()):
                raise ConfigError(
                    f"no profiles here: expected a folder with {', '.join(FOLDERS.values())}",
                    file=root,
                )
        self._indices: dict[Kind, dict[str, _Found]] = {}
        self._documents: dict[Path, Document] = {}

    def ids(self, kind: Kind) -> tuple[str, ...]:
        """All ids of one kind, sorted.

        Raises:
            ConfigError: Two files state one id, or a file has none.
        """
        return tuple(sorted(self._index(kind)))

    def file(self, kind: Kind, profile_id: str) -> Path:
        """The file that states a profile.

        Raises:
            UnknownNameError: None does.
            ConfigError: Two do.
        """
        return self._find(kind, profile_id).file

    def hardware(self, profile_id: str) -> HardwareProfile:
        """A hardware profile.

        Raises:
            UnknownNameError: There is none of this id.
            ConfigError: Its file is wrong; the first fault.
        """
        return build(self._document("hardware", profile_id), HardwareProfile)

    def model(self, profile_id: str) -> ModelProfile:
        """A model profile.

        Raises:
            UnknownNameError: There is none of this id.
            ConfigError: Its file is wrong; the first fault.
        """
        return build(self._document("model", profile_id), ModelProfile)

    def resolve(self, deployment: str | Mapping[str, object]) -> DeploymentSpec:
        """A deployment with its model and hardware.

        Args:
            deployment: Its id, a mapping that states it, or ``{id: ..., override: {...}}``.

        Raises:
            UnknownNameError: There is no deployment of this id.
            ConfigError: Something it is made of is wrong or missing; the first fault.
        """
        if isinstance(deployment, str):
            return self._spec(self._document("deployment", deployment))
        return self.resolve_entry(document_of(deployment))

    def resolve_entry(self, entry: Document) -> DeploymentSpec:
        """As ``resolve``, for an entry of a configuration file, which errors then point at.

        Raises:
            ConfigError: Something it is made of is wrong or missing; the first fault.
        """
        tree = entry.tree
        if isinstance(tree, dict) and not tree.keys() <= {"id", "override"}:
            return self._spec(entry)
        if isinstance(tree, str):
            return self._spec(self._named(entry, "", tree))
        if not isinstance(tree, dict) or not isinstance(tree.get("id"), str):
            raise entry.error(
                "", f"expected the id of a deployment, or a mapping, got {show(tree)}"
            )
        base = self._named(entry, "id", str(tree["id"]))
        override = entry.part("override", tree.get("override", {}))
        if not isinstance(override.tree, dict):
            raise override.error("", f"expected mapping, got {show(override.tree)}")
        return self._spec(overridden(base, override))

    def _named(self, entry: Document, path: str, deployment_id: str) -> Document:
        try:
            return self._document("deployment", deployment_id)
        except UnknownNameError as exc:
            raise entry.error(path, exc.message, hint=exc.hint) from exc

    def _spec(self, document: Document) -> DeploymentSpec:
        normal, problems = check(document, DeploymentProfile)
        if problems:
            raise problems[0]
        _anchor_paths(normal, document)
        deployment = msgspec.convert(normal, DeploymentProfile)
        model, hardware = deployment.model, deployment.hardware
        if isinstance(model, str):
            model = build(self._reference(document, "model", model), ModelProfile)
        if isinstance(hardware, str):
            hardware = build(self._reference(document, "hardware", hardware), HardwareProfile)
        return DeploymentSpec(
            deployment=deployment,
            model=model,
            hardware=hardware,
            file=document.file,
            lines=document.own_lines(),
            overridden=document.overridden,
        )

    def _reference(
        self, document: Document, kind: Literal["hardware", "model"], profile_id: str
    ) -> Document:
        try:
            return self._document(kind, profile_id)
        except UnknownNameError as exc:
            raise document.error(kind, exc.message, hint=exc.hint) from exc

    def _document(self, kind: Kind, profile_id: str) -> Document:
        file = self._find(kind, profile_id).file
        if file not in self._documents:
            document = load_yaml(file)
            _expect_id(document, profile_id)
            self._documents[file] = document
        return self._documents[file]

    def _find(self, kind: Kind, profile_id: str) -> _Found:
        index = self._index(kind)
        if profile_id not in index:
            raise UnknownNameError(
                f"there is no {kind} {show(profile_id)}",
                hint=suggestion(profile_id, tuple(sorted(index))),
            )
        return index[profile_id]

    def _index(self, kind: Kind) -> dict[str, _Found]:
        if kind not in self._indices:
            index: dict[str, _Found] = {}
            for root in self.roots:
                for file in profile_files(root, kind):
                    profile_id, line = _id_of(file)
                    if profile_id in index:
                        first = index[profile_id].file
                        raise duplicate(kind, profile_id, file=file, line=line, first=first)
                    index[profile_id] = _Found(file, line)
            self._indices[kind] = index
        return self._indices[kind]


def duplicate(
    kind: Kind, profile_id: str, *, file: Path, line: int | None, first: Path
) -> ConfigError:
    """The error for an id that two files state."""
    return ConfigError(
        f"{kind} {profile_id!r} is also in {first}",
        file=file,
        line=line,
        path="id",
        hint="rename one of them; to change a profile, use `{id: ..., override: {...}}` in ttc.yaml",
    )


def _id_of(file: Path) -> tuple[str, int | None]:
    """Id of a profile and its line, without parsing where a line says it plainly."""
    try:
        data = b"" if file.stat().st_size > MAX_BYTES else file.read_bytes()
    except OSError as exc:
        raise ConfigError(f"cannot be read: {exc.strerror or exc}", file=file) from exc
    found = _ID_LINE.search(data)
    if found is not None:
        return found["id"].decode("ascii"), data.count(b"\n", 0, found.start()) + 1
    document = load_yaml(file)
    tree = document.tree
    profile_id = tree.get("id") if isinstance(tree, dict) else None
    if not isinstance(profile_id, str):
        raise document.error("", "a profile without `id`")
    return profile_id, document.place("id").line


def _expect_id(document: Document, profile_id: str) -> None:
    """The line that named the file could have stood inside a longer text."""
    stated = document.tree.get("id") if isinstance(document.tree, dict) else None
    if stated != profile_id:
        raise document.error(
            "id", f"expected {profile_id!r}, which a line says, got {show(stated)}"
        )


def _anchor_paths(normal: dict[str, Tree], document: Document) -> None:
    """Make paths to files absolute; they are relative to the file that states them."""
    for struct, field in (("source", "path"), ("auth", "file")):
        node = normal.get(struct)
        value = node.get(field) if isinstance(node, dict) else None
        if isinstance(node, dict) and isinstance(value, str):
            stated_in = document.place(f"{struct}.{field}").file
            folder = Path() if stated_in is None else Path(stated_in).parent
            node[field] = str((folder / expanded(value)).absolute())
