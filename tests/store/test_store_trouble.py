"""Several processes, forks, crashes, damaged and newer files, and places that cannot be written."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from tt_compute.errors import StoreError
from tt_compute.planning.estimates import Estimates
from tt_compute.results import Result
from tt_compute.store import Store
from tt_compute.store.database import Database
from tt_compute.store.schema import SCHEMA_VERSION

OpenDatabase = Callable[..., Database]
MakeResult = Callable[..., Result]

PRELUDE = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import build_result
from pathlib import Path
from tt_compute.store import database as module
from tt_compute.store.limits import Limits

def opened():
    database = module.Database(
        Path(sys.argv[1]), keep_text=False,
        limits=Limits(max_age_s=None, max_bytes=None), wall_clock=lambda: 1.0,
    )
    database.open()
    return database

def record(database, name):
    database.record(build_result(name, ("42",) * 4), prompt="p", mock=False)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ids(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {row[0] for row in connection.execute("SELECT id FROM receipts")}
    finally:
        connection.close()


def test_four_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    code = """
sys.stdin.readline()
database = opened()
for number in range(50):
    record(database, f"{sys.argv[2]}-{number}")
"""
    children = [start(code, path, name) for name in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=60)
        assert child.returncode == 0
    assert ids(path) == {f"{name}-{number}" for name in range(4) for number in range(50)}


def test_a_crash_in_the_middle_of_a_write_loses_that_receipt_alone(path: Path) -> None:
    code = """
database = opened()
record(database, "whole")
def dies(result, number):
    os.kill(os.getpid(), signal.SIGKILL)
    return ()
module.sample_rows = dies
record(database, "half")
"""
    child = start(code, path)
    child.communicate(timeout=60)
    assert child.returncode == -9
    assert ids(path) == {"whole"}


def test_after_a_fork_both_sides_write_to_the_same_file(path: Path) -> None:
    """The parent closes the store before the child writes: what the child writes must not be lost."""
    code = """
database = opened()
record(database, "before")
ready, go = os.pipe()
if os.fork() == 0:
    os.read(ready, 1)
    record(database, "child")
    os._exit(0)
record(database, "parent")
database.close()
os.write(go, b"x")
_, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status))
"""
    child = start(code, path)
    child.communicate(timeout=60)
    assert child.returncode == 0
    assert ids(path) == {"before", "parent", "child"}


def test_no_connection_is_open_while_the_process_forks(path: Path) -> None:
    code = """
database = opened()
if os.fork() == 0:
    held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{fd}")]
    os._exit(any("store.sqlite3" in name for name in held))
_, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status))
"""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to see the open files")
    child = start(code, path)
    child.communicate(timeout=60)
    assert child.returncode == 0


@pytest.mark.parametrize(
    "content", [b"not a database at all", b"SQLite format 3\x00" + bytes(200), b"\xff" * 5000]
)
def test_a_damaged_file_is_set_aside_with_a_warning_and_a_new_one_begun(
    content: bytes, path: Path, open_database: OpenDatabase, make_result: MakeResult
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    database = open_database()
    database.record(make_result("r1"), prompt="p", mock=False)
    (warning,) = database.take_warnings()
    assert "store.sqlite3.damaged-1" in warning
    assert path.with_name("store.sqlite3.damaged-1").read_bytes() == content
    assert ids(path) == {"r1"}


def test_an_earlier_damaged_file_is_not_overwritten(
    path: Path, open_database: OpenDatabase
) -> None:
    path.parent.mkdir()
    for number in (1, 2):
        path.write_bytes(f"rubbish {number}".encode())
        open_database().close()
    assert path.with_name("store.sqlite3.damaged-1").read_bytes() == b"rubbish 1"
    assert path.with_name("store.sqlite3.damaged-2").read_bytes() == b"rubbish 2"


def test_a_missing_table_is_damage(path: Path, open_database: OpenDatabase) -> None:
    open_database().close()
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE texts")
    connection.close()
    (warning,) = open_database().take_warnings()
    assert "no such table" in warning


def test_damage_met_while_writing_is_set_aside_and_the_run_is_kept(
    path: Path, open_database: OpenDatabase, make_result: MakeResult
) -> None:
    """All tables can be opened; the index that a new row must enter cannot."""
    database = open_database()
    database.record(make_result("r1"), prompt="p", mock=False)
    database.close()
    connection = sqlite3.connect(path)
    (page,) = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'receipts_by_age'"
    ).fetchone()
    connection.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xab" * 4096
    path.write_bytes(content)
    database = open_database()
    assert database.take_warnings() == ()
    database.record(make_result("after"), prompt="p", mock=False)
    (warning,) = database.take_warnings()
    assert "store.sqlite3.damaged-1" in warning
    assert ids(path) == {"after"}


def test_a_process_that_has_the_old_file_open_goes_on_in_the_new_one(
    path: Path, open_database: OpenDatabase, make_result: MakeResult
) -> None:
    bystander = open_database()
    bystander.record(make_result("old"), prompt="p", mock=False)
    path.rename(path.with_name("aside"))
    path.with_name("store.sqlite3-wal").rename(path.with_name("aside-wal"))
    path.with_name("store.sqlite3-shm").rename(path.with_name("aside-shm"))
    other = open_database()
    other.record(make_result("first"), prompt="p", mock=False)
    bystander.record(make_result("second"), prompt="p", mock=False)
    other.record(make_result("third"), prompt="p", mock=False)
    other.close()
    bystander.close()
    assert ids(path) == {"first", "second", "third"}


@pytest.mark.anyio
async def test_a_newer_file_is_left_byte_for_byte_and_the_run_goes_on_without_a_store(
    path: Path, open_database: OpenDatabase, make_result: MakeResult
) -> None:
    open_database().close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    store = await Store.open(path, wall_clock=lambda: 1.0)
    assert "newer release" in store.warnings[0]
    assert await store.record(make_result("r1"), prompt="p", mock=False) == ()
    assert await store.estimates() == Estimates()
    with pytest.raises(StoreError, match="newer release"):
        await store.feedback("r1", correct=True)
    with pytest.raises(StoreError, match="newer release"):
        await store.info()
    with pytest.raises(StoreError, match="newer release"):
        await store.purge()
    await store.aclose()
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


@pytest.mark.anyio
async def test_a_place_that_cannot_be_written_gives_a_warning(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    await anyio.Path(blocked).write_text("not a folder")
    store = await Store.open(blocked / "store.sqlite3", wall_clock=lambda: 1.0)
    assert str(blocked) in store.warnings[0]
    assert store.unusable is not None


@pytest.mark.anyio
async def test_a_full_disk_costs_the_receipt_and_not_the_answer(
    path: Path, make_result: MakeResult
) -> None:
    store = await Store.open(path, wall_clock=lambda: 1.0)
    assert await store.record(make_result("r1"), prompt="p", mock=False) == ()
    database = store._database  # pyright: ignore[reportPrivateUsage] - SQLite's own cap stands in for the disk
    assert database is not None
    opened = database._opened  # pyright: ignore[reportPrivateUsage] - likewise
    assert opened is not None
    opened.connection.execute("PRAGMA max_page_count = 1").fetchall()
    big = make_result("r2", ("42",) * 2000)
    (warning,) = await store.record(big, prompt="p", mock=False)
    assert "the receipt was not kept" in warning
    assert "full" in warning
    opened.connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    assert await store.record(make_result("r3"), prompt="p", mock=False) == ()
    assert (await store.info()).receipts == 2
    await store.aclose()


@pytest.mark.anyio
async def test_the_store_records_judges_and_forgets(path: Path, make_result: MakeResult) -> None:
    store = await Store.open(path, wall_clock=lambda: 1000.0)
    assert store.warnings == ()
    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(record, store, make_result(f"{number}"))
    await store.feedback("3", correct=True)
    info = await store.info()
    assert (info.receipts, info.judged) == (8, 1)
    assert len((await store.estimates()).observations) == 1
    assert (await store.estimates(mock=True)) == Estimates()
    assert await store.purge(older_than_days=1) == 0
    assert await store.purge() == 8
    await store.aclose()
    await store.aclose()


async def record(store: Store, result: Result) -> None:
    assert await store.record(result, prompt="p", mock=False) == ()


def test_a_store_that_is_deleted_meanwhile_is_begun_anew(
    path: Path, open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    database.record(make_result("r1"), prompt="p", mock=False)
    for file in path.parent.iterdir():
        file.unlink()
    database.record(make_result("r2"), prompt="p", mock=False)
    database.close()
    assert ids(path) == {"r2"}


def test_a_file_from_before_the_first_release_is_set_aside(
    path: Path, open_database: Callable[..., Database]
) -> None:
    open_database().close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    database = open_database()
    assert "before the first release" in database.take_warnings()[0]
    assert database.info().receipts == 0
