"""The engine's main loop: commands in, one step, replies out; the same in a process and on a thread."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from tt_compute.errors import BackendUnavailable, ModelLoadError, TTComputeError
from tt_compute_backends.engine.messages import (
    Command,
    Fatal,
    Load,
    LoadFailed,
    Ready,
    Reply,
    Shutdown,
    decode_command,
    encode,
    to_wire,
)
from tt_compute_backends.engine.runtime import LoadRequest, Runtime
from tt_compute_backends.engine.scheduler import Scheduler

__all__ = ["Inbox", "Send", "serve"]

Inbox = SimpleQueue[bytes | None]
"""Encoded commands; None = the parent is gone."""
Send = Callable[[bytes], None]


def serve(inbox: Inbox, send: Send, now: Callable[[], float]) -> None:
    """Load the model that the first command names and serve it until told to end.

    Args:
        inbox: Where commands arrive.
        send: Hands over an encoded list of replies.
        now: Monotonic seconds, on the clock that the parent stamps commands with.
    """
    first = _next(inbox)
    if not isinstance(first, Load):
        return
    try:
        runtime = _runtime(first.request.runtime)
        loaded = runtime.load(first.request)
    except Exception as error:  # noqa: BLE001 - outermost edge: the parent raises it
        send(encode([LoadFailed(error=to_wire(_load_error(error, first.request)))]))
        return
    send(encode([Ready(loaded=loaded)]))
    scheduler = Scheduler(
        runtime,
        max_rows=first.request.max_rows,
        share_prefill=loaded.capabilities.prefix_sharing,
        now=now,
    )
    try:
        _run(scheduler, inbox, send)
    except Exception as error:  # noqa: BLE001 - outermost edge: the parent raises it
        fatal = Fatal(error=to_wire(error, "the engine cannot go on"))
        send(encode([*scheduler.take_replies(), fatal]))
    finally:
        runtime.close()


def _run(scheduler: Scheduler, inbox: Inbox, send: Send) -> None:
    while True:
        wait = not scheduler.busy
        while wait or not inbox.empty():
            wait = False
            command = _next(inbox)
            if command is None or isinstance(command, Load | Shutdown):
                return
            scheduler.handle(command)
        _flush(scheduler, send)
        scheduler.advance()
        _flush(scheduler, send)


def _flush(scheduler: Scheduler, send: Send) -> None:
    replies: list[Reply] = scheduler.take_replies()
    if replies:
        send(encode(replies))


def _next(inbox: Inbox) -> Command | None:
    frame = inbox.get()
    return None if frame is None else decode_command(frame)


def _runtime(spec: str) -> Runtime:
    module, _, name = spec.partition(":")
    kind: Any = getattr(importlib.import_module(module), name)
    runtime: Runtime = kind()
    return runtime


def _load_error(error: Exception, request: LoadRequest) -> TTComputeError:
    if isinstance(error, TTComputeError):
        return error
    if isinstance(error, ImportError):
        return BackendUnavailable(f"the runtime {request.runtime} cannot be imported: {error}")
    return ModelLoadError(
        f"the runtime could not load {request.model_path}: {type(error).__name__}: {error}"
    )
