"""What crosses the pipe arrives as it was sent."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute import errors
from tt_compute.errors import (
    BackendError,
    ContextLengthError,
    ModelLoadError,
    OutOfMemory,
    ServerError,
    TTComputeError,
)
from tt_compute.types import Failed, Usage
from tt_compute_backends.engine.frames import read_frames, write_frame
from tt_compute_backends.engine.messages import (
    Origin,
    Refused,
    WireFailed,
    backend_error,
    decode_replies,
    encode,
    from_wire,
    to_wire,
)

ORIGIN = Origin(backend="fake", deployment="local/fake")


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_of_ours_crosses_as_itself(name: str) -> None:
    """Class, message, hint and the fields of a ``BackendError`` survive."""
    kind: Any = getattr(errors, name)
    more: dict[str, Any] = {"retry_after_s": 2.5} if issubclass(kind, BackendError) else {}
    sent: TTComputeError = kind("what happened", hint="what to do", **more)
    reply = Refused(generation=1, error=to_wire(sent))
    (arrived,) = decode_replies(encode([reply]))
    assert isinstance(arrived, Refused)
    got = from_wire(arrived.error, ORIGIN)
    assert (type(got), got.message, got.hint) == (kind, "what happened", "what to do")
    if isinstance(got, BackendError):
        assert (got.retry_after_s, got.backend, got.deployment) == (2.5, "fake", "local/fake")


def test_an_error_that_names_its_deployment_keeps_it() -> None:
    """The holder's name only fills a gap."""
    sent = ModelLoadError("x", backend="b", deployment="d")
    got = from_wire(to_wire(sent), ORIGIN)
    assert isinstance(got, ModelLoadError)
    assert (got.backend, got.deployment) == ("b", "d")


def test_a_subclass_from_elsewhere_crosses_as_its_nearest_ancestor() -> None:
    """A runtime's own error class is unknown to the parent."""

    class TooLong(ContextLengthError):
        pass

    assert type(from_wire(to_wire(TooLong("9 > 8")), ORIGIN)) is ContextLengthError


@pytest.mark.parametrize(
    ("error", "kind"), [(ValueError("bad"), ServerError), (MemoryError("full"), OutOfMemory)]
)
def test_a_foreign_exception_crosses_as_an_error_of_ours(
    error: Exception, kind: type[TTComputeError]
) -> None:
    """The message says what was being done and what was raised."""
    got = from_wire(to_wire(error, "while counting"), ORIGIN)
    assert type(got) is kind
    assert got.message == f"while counting: {type(error).__name__}: {error}"


def test_a_sample_never_fails_with_a_usage_error() -> None:
    """``Failed`` holds a ``BackendError`` whatever the runtime raised."""
    wire = WireFailed(
        index=4,
        error=to_wire(ContextLengthError("9 > 8")),
        text="t",
        usage=Usage(output_tokens=1),
    )
    failed = wire.event(ORIGIN)
    assert failed == Failed(index=4, error=failed.error, text="t", usage=Usage(output_tokens=1))
    assert type(failed.error) is ServerError
    assert (failed.error.message, failed.error.deployment) == ("9 > 8", "local/fake")
    assert type(backend_error(to_wire(OutOfMemory("x")), ORIGIN)) is OutOfMemory


@given(st.lists(st.binary(max_size=200)), st.integers(0, 5))
def test_frames_arrive_as_written(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes], cut: int
) -> None:
    """Whole frames arrive in order; one that was cut off at the end is dropped."""
    path: Path = tmp_path_factory.mktemp("frames") / "pipe"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        for message in [*messages, b"the last one"]:
            write_frame(fd, message)
        os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_CUR) - cut)
        os.lseek(fd, 0, os.SEEK_SET)
        assert list(read_frames(fd)) == messages + [b"the last one"] * (cut == 0)
    finally:
        os.close(fd)


def test_a_frame_larger_than_the_pipe_arrives() -> None:
    """Writing goes on as the reader makes room."""
    reading, writing = os.pipe()
    message = bytes(range(256)) * 4000

    def write() -> None:
        write_frame(writing, message)
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    assert list(read_frames(reading)) == [message]
    writer.join()
    os.close(reading)
