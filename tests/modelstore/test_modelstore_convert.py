"""Conversions: once for the same content, whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import msgspec
import pytest

from tt_compute.errors import ModelLoadError, ModelNotFound
from tt_compute.modelstore.store import LocalModelStore
from tt_compute.types import Converter

pytestmark = pytest.mark.anyio

PROGRAM = """
import os, pathlib, sys, time
source, target, what, journal = sys.argv[1:5]
with open(journal, "a") as file:
    file.write(f"{os.getpid()}\\n")
target = pathlib.Path(target)
(target / "model.bin").write_bytes(pathlib.Path(source).read_bytes() * 2)
if what == "fail":
    sys.exit("no such luck")
if what == "hang":
    (target.parent.parent / "hangs").touch()
    time.sleep(600)
(target / "config.json").write_text(what)
"""


class Maker:
    """Makes converters of the program above, and knows how often it ran."""

    def __init__(self, folder: Path) -> None:
        self._journal = folder / "journal"

    def __call__(self, what: str = "copy", version: int = 1) -> Converter:
        return Converter(
            format="double",
            module="doubling_converter",
            version=version,
            arguments=(what, str(self._journal)),
        )

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in self._journal.read_text().split()]


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    (tmp_path / "doubling_converter.py").write_text(PROGRAM, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return Maker(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.gguf"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def store(tmp_path: Path) -> LocalModelStore:
    return LocalModelStore(tmp_path / "cache")


def cached(tmp_path: Path) -> list[str]:
    """What lies in the cache of conversions besides locks and digests."""
    folder = tmp_path / "cache" / "converted"
    return [
        path.name
        for path in folder.iterdir()
        if path.name not in {"digests", "hangs"} and path.suffix != ".lock"
    ]


async def test_it_is_made_once(store: LocalModelStore, source: Path, maker: Maker) -> None:
    made = await store.convert(source, maker())
    assert (made / "model.bin").read_bytes() == b"weightsweights"
    assert await store.convert(source, maker()) == made
    assert len(maker.pids) == 1


async def test_other_content_another_version_or_other_arguments_make_it_anew(
    store: LocalModelStore, source: Path, maker: Maker
) -> None:
    made = {await store.convert(source, maker())}
    made.add(await store.convert(source, maker(version=2)))
    made.add(await store.convert(source, maker("other")))
    await anyio.Path(source).write_bytes(b"others!")
    made.add(await store.convert(source, maker()))
    assert len(made) == 4


async def test_a_copy_of_the_source_finds_what_was_made(
    store: LocalModelStore, source: Path, maker: Maker, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.gguf"
    await anyio.Path(copy).write_bytes(b"weights")
    assert await store.convert(source, maker()) == await store.convert(copy, maker())


async def test_several_at_once_make_it_once(
    store: LocalModelStore, source: Path, maker: Maker
) -> None:
    made: set[Path] = set()

    async def convert() -> None:
        made.add(await store.convert(source, maker()))

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(convert)
    assert len(made) == 1
    assert len(maker.pids) == 1


async def test_a_converter_that_fails_says_why_and_leaves_nothing(
    store: LocalModelStore, source: Path, maker: Maker, tmp_path: Path
) -> None:
    with pytest.raises(ModelLoadError, match="no such luck"):
        await store.convert(source, maker("fail"))
    assert cached(tmp_path) == []


async def test_a_cancelled_conversion_is_stopped_and_leaves_nothing(
    store: LocalModelStore, source: Path, maker: Maker, tmp_path: Path
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.convert, source, maker("hang"))
        with anyio.fail_after(60):
            while not (tmp_path / "cache" / "converted" / "hangs").exists():
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    (pid,) = maker.pids
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert cached(tmp_path) == []


@pytest.mark.parametrize("damage", ["short", "missing", "manifest"])
async def test_what_was_damaged_is_made_anew(
    store: LocalModelStore, source: Path, maker: Maker, damage: str
) -> None:
    made = await store.convert(source, maker())
    if damage == "short":
        (made / "model.bin").write_bytes(b"w")
    elif damage == "missing":
        (made / "config.json").unlink()
    else:
        (made / "manifest.json").write_bytes(b"{")
    again = await store.convert(source, maker())
    assert again == made
    assert (again / "model.bin").read_bytes() == b"weightsweights"
    assert (again / "config.json").read_text() == "copy"


async def test_a_folder_is_known_by_all_its_files(
    store: LocalModelStore, maker: Maker, tmp_path: Path
) -> None:
    """The program cannot read folders: that it ran again is told by its failure."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"1")
    conversions: Any = cast("Any", store)._conversions()
    first = conversions.place(folder, maker(), lambda: None)
    assert conversions.place(folder, maker(), lambda: None) == first
    (folder / "model.safetensors").write_bytes(b"12")
    assert conversions.place(folder, maker(), lambda: None) != first


async def test_a_source_that_vanished_is_said_so(
    store: LocalModelStore, maker: Maker, tmp_path: Path
) -> None:
    with pytest.raises((ModelNotFound, ModelLoadError), match=r"gone\.gguf"):
        await store.convert(tmp_path / "gone.gguf", maker())


async def test_the_manifest_tells_what_it_was_made_by(
    store: LocalModelStore, source: Path, maker: Maker
) -> None:
    made = await store.convert(source, maker())
    manifest = msgspec.json.decode((made / "manifest.json").read_bytes())
    assert manifest["converter"]["module"] == "doubling_converter"
    assert manifest["bytes"] == {"model.bin": 14, "config.json": 4}
