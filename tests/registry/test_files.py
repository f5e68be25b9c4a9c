"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tt_compute.errors import UsageError
from tt_compute.files import check_folder, expanded, write_file

unix = pytest.mark.skipif(os.name == "nt", reason="links and devices of Unix")


def test_a_file_that_is_there_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    """A name may be as long as the system takes."""
    file = tmp_path / ("x" * 250)
    for text in (b"first", b"second"):
        write_file(file, text)
        assert file.read_bytes() == text
    assert list(tmp_path.iterdir()) == [file]


@unix
def test_a_link_stays_one_and_a_device_is_written_to(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    write_file(link, b"text")
    assert link.is_symlink()
    assert file.read_bytes() == b"text"
    write_file(Path(os.devnull), b"text")
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("name", ["no/file", "x" * 300, "."])
def test_what_cannot_be_written_is_told_with_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_file(tmp_path / name, b"text")
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_folder_is_refused_beforehand(tmp_path: Path) -> None:
    check_folder(tmp_path / "file")
    with pytest.raises(UsageError, match="there is no folder"):
        check_folder(tmp_path / "no" / "file")


@unix
def test_a_home_that_is_not_there_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shell."""
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/file") == Path("/home/me/file")
    assert expanded("~nobody-of-this-name/file") == Path("~nobody-of-this-name/file")
