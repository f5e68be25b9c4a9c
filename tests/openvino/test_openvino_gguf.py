"""The GGUF header is read without trusting it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.errors import ModelLoadError
from tt_compute_backends.gguf import read_gguf_header


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _pair(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value


def _file(*, tensor_type: int = 0, offset: int = 0, alignment: int = 32) -> bytes:
    """A file of two tensors, 4 F32 each, and one value of several kinds."""
    pairs = [
        _pair("general.architecture", 8, _text("llama")),
        _pair("general.alignment", 4, struct.pack("<I", alignment)),
        _pair("llama.context_length", 4, struct.pack("<I", 64)),
        _pair("some.flag", 7, b"\x01"),
        _pair("some.float", 6, struct.pack("<f", 0.5)),
        _pair("some.words", 9, struct.pack("<IQ", 8, 2) + _text("a") + _text("ß")),
        _pair("some.numbers", 9, struct.pack("<IQ", 5, 3) + struct.pack("<3i", 1, -2, 3)),
    ]
    tensors = [
        _text(name) + struct.pack("<IQIQ", 1, 4, tensor_type, at)
        for name, at in (("first", 0), ("second", 32 + offset))
    ]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    head += b"".join(pairs) + b"".join(tensors)
    head += b"\0" * (-len(head) % alignment)
    return head + b"\0" * (32 + (20 if tensor_type == 3 else 16))


def _write(folder: Path, data: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(data)
    return path


def test_reads_every_kind_of_value_and_where_the_tensors_lie(tmp_path: Path) -> None:
    """What the header says is what one gets."""
    header = read_gguf_header(_write(tmp_path, _file()))
    assert header.text("general.architecture") == "llama"
    assert header.integer("llama.context_length") == 64
    assert header.integer("some.flag") is None
    assert header.metadata["some.flag"] is True
    assert header.metadata["some.float"] == 0.5
    assert header.array("some.words") == ("a", "ß")
    assert header.array("some.numbers") == (1, -2, 3)
    assert [(tensor.name, tensor.shape, tensor.bytes) for tensor in header.tensors] == [
        ("first", (4,), 16),
        ("second", (4,), 16),
    ]


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    """There is no length short of the whole at which the file would be accepted."""
    whole = _file()
    read_gguf_header(_write(tmp_path, whole))
    for length in range(len(whole)):
        with pytest.raises(ModelLoadError) as caught:
            read_gguf_header(_write(tmp_path, whole[:length]))
        assert str(tmp_path / "model.gguf") in caught.value.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offset": 32}, "ends at byte"),
        ({"tensor_type": 99}, "type 99"),
        ({"tensor_type": 3}, None),
    ],
)
def test_a_tensor_must_lie_inside_the_file(
    change: dict[str, int], message: str | None, tmp_path: Path
) -> None:
    """The type decides the size: a block of Q4_1 fits where four F32 do not need to."""
    path = _write(tmp_path, _file(**change))
    if message is None:
        assert read_gguf_header(path).tensors[0].bytes == 20
        return
    with pytest.raises(ModelLoadError, match=message):
        read_gguf_header(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04" + b"\0" * 100,
        b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**64 - 1),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + _pair("k", 9, struct.pack("<IQ", 0, 2**60)),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + _pair("k", 9, struct.pack("<IQ", 9, 1)),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + _pair("general.alignment", 4, b"\0" * 4),
    ],
    ids=["empty", "zip", "old", "tensors", "keys", "length", "array", "nested", "alignment"],
)
def test_foreign_and_absurd_files_are_refused(data: bytes, tmp_path: Path) -> None:
    """Counts and lengths are checked against the file before anything is made of them."""
    with pytest.raises(ModelLoadError):
        read_gguf_header(_write(tmp_path, data))


def test_a_missing_file_is_a_load_error(tmp_path: Path) -> None:
    """The path and the system's reason are told."""
    with pytest.raises(ModelLoadError, match=r"none\.gguf cannot be read: No such file"):
        read_gguf_header(tmp_path / "none.gguf")


@given(data=st.data())
def test_any_single_damaged_byte_is_refused_or_harmless(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing but our own error ever comes out of a damaged header."""
    content = bytearray(_file())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    path = _write(tmp_path_factory.mktemp("damaged"), bytes(content))
    try:
        header = read_gguf_header(path)
    except ModelLoadError:
        return
    assert len(header.tensors) <= 2
