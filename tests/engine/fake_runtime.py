"""A deterministic runtime without a model: the prompt's words say what its rows do.

``length=5`` ends a row with ``stop`` after 5 tokens; without it rows run to ``max_tokens`` (default 10**9).
``prefill=3`` takes 3 steps to compute the prompt once; a row that is cancelled in them leaves one token of
the prompt cached for each. ``tail=2`` takes 2 steps for what is not shared. ``oom=2`` runs out of memory instead of making token
2; ``raise=2`` fails the whole step there, ``kill=2`` the process, ``hang=2`` hangs it. ``refuse``,
``refuse-badly`` and ``refuse-add`` are refused. Token ``t`` of a row with seed ``s`` is ``s:t `` with
log-probability ``-t``.

It reads a text of words too: ``passes=3`` takes 3 passes and gives ``[3.0]``; ``raise=2`` fails in pass 2,
``hang=2`` hangs there.

Options: ``block`` (prompt tokens are shared in multiples of it, default 1), ``step_s`` (a step keeps the
interpreter busy so long), ``load`` (``raise``, ``kill``, ``exit`` or ``hang``), ``share`` (False: no prefix
sharing), ``noise`` (printed on standard output while loading), ``hanging`` (a FIFO that is opened before
hanging), ``broken_reset``, ``room`` (rows that fit into memory).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Generator
from pathlib import Path

from tt_compute.errors import InvalidRequestError, ModelLoadError
from tt_compute.types import Capabilities, GenerateRequest, TokenLogprob
from tt_compute_backends.engine.runtime import (
    Loaded,
    LoadRequest,
    Prompt,
    Reading,
    RowParams,
    RowStep,
    Vectors,
)

ENDLESS = 10**9


def hang(tell: object) -> None:
    """Wait for ever with the GIL held, as a native runtime may; first tell so by opening a FIFO."""
    if tell is not None:
        Path(str(tell)).open("w", encoding="ascii").close()
    ctypes.PyDLL(None).pause()


class FakeRow:
    def __init__(self, prompt: Prompt, params: RowParams, words: tuple[str, ...]) -> None:
        self.prompt = prompt
        self.params = params
        self.settings = dict(word.split("=") for word in words if "=" in word)
        self.made = 0
        self.waited = 0

    def number(self, name: str) -> int | None:
        value = self.settings.get(name)
        return None if value is None else int(value)


class FakeRuntime:
    def __init__(self) -> None:
        self.options: dict[str, object] = {}
        self.words: dict[tuple[int, ...], tuple[str, ...]] = {}
        self.computed: set[tuple[int, ...]] = set()
        self.partly: dict[tuple[int, ...], int] = {}
        self.rows: dict[int, FakeRow] = {}
        self.freed: set[int] = set()
        self.journal: list[tuple[str, int]] = []
        self.most_rows = 0
        self.resets = 0
        self.closed = False
        self.passes: list[str] = []
        self.readings_ended = 0

    def load(self, request: LoadRequest) -> Loaded:
        self.options = request.options
        print(self.options.get("noise", ""), flush=True)  # noqa: T201 - what native libraries do
        match self.options.get("load"):
            case "raise":
                raise ModelLoadError("bad magic number", hint="pull the model again")
            case "kill":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                sys.stderr.write("out of paper\n")
                sys.stderr.flush()
                os._exit(3)
            case "hang":
                hang(self.options.get("hanging"))
            case _:
                pass
        share = self.options.get("share", True) is True
        capabilities = Capabilities(prefix_sharing=share, max_logprobs=1)
        return Loaded(max_context_tokens=4096, capabilities=capabilities, load_s=0.0)

    def prepare(self, request: GenerateRequest) -> Prompt:
        words = tuple(request.messages[-1].text.split())
        if "refuse" in words:
            raise InvalidRequestError("the prompt asks to be refused", hint="ask otherwise")
        if "refuse-badly" in words:
            raise ZeroDivisionError("no such luck")
        ids = tuple(hash(word) for word in words)
        self.words[ids] = words
        return Prompt(token_ids=ids, max_tokens=request.sampling.max_tokens or ENDLESS)

    def has_room(self, prompt: Prompt) -> bool:  # noqa: ARG002 - Runtime's shape
        return len(self.rows) < int(str(self.options.get("room", ENDLESS)))

    def add(self, row: int, prompt: Prompt, params: RowParams) -> None:
        words = self.words[prompt.token_ids]
        if "refuse-add" in words:
            raise ValueError("no room for the row")
        self.journal.append(("add", row))
        self.rows[row] = FakeRow(prompt, params, words)
        self.most_rows = max(self.most_rows, len(self.rows) + len(self.freed))

    def cancel(self, row: int) -> None:
        self.journal.append(("cancel", row))
        ended = self.rows.pop(row, None)
        if ended is not None:
            self.freed.add(row)
            self.partly[ended.prompt.token_ids] = ended.waited

    def step(self) -> list[RowStep]:
        self.journal.append(("step", len(self.rows)))
        end = time.monotonic() + float(str(self.options.get("step_s", 0)))
        while time.monotonic() < end:
            pass
        self.freed.clear()
        steps = [self._advance(number, row) for number, row in list(self.rows.items())]
        return [step for step in steps if step is not None]

    def reset(self) -> None:
        if self.options.get("broken_reset"):
            raise RuntimeError("cannot be mended")
        self.resets += 1
        self.rows.clear()
        self.freed.clear()
        self.computed.clear()

    def close(self) -> None:
        self.closed = True

    def read(self, reading: Reading) -> Generator[None, None, Vectors]:
        try:
            rows: Vectors = []
            for given in reading.texts:
                text = given if isinstance(given, str) else " ".join(given)
                settings = dict(word.split("=") for word in text.split())
                count = int(settings.get("passes", 1))
                for number in range(1, count + 1):
                    self.passes.append(text)
                    if number == int(settings.get("raise", 0)):
                        raise ZeroDivisionError("no such luck")
                    if number == int(settings.get("hang", 0)):
                        hang(self.options.get("hanging"))
                    if number < count:
                        yield
                rows.append([float(count)])
            return rows
        finally:
            self.readings_ended += 1

    def _advance(self, number: int, row: FakeRow) -> RowStep | None:
        cached = 0
        if row.made == 0:
            ids = row.prompt.token_ids
            if ids in self.computed and self.options.get("share", True) is True:
                block = int(str(self.options.get("block", 1)))
                cached = len(ids) // block * block
                if row.waited + 1 < (row.number("tail") or 1):
                    row.waited += 1
                    return None
            elif row.waited + 1 < (row.number("prefill") or 1):
                row.waited += 1
                return None
            else:
                cached = self.partly.get(ids, 0)
            self.computed.add(ids)
        return self._token(number, row, cached)

    def _token(self, number: int, row: FakeRow, cached: int) -> RowStep:
        if row.made == row.number("raise"):
            raise RuntimeError("the batch blew up")
        if row.made == row.number("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if row.made == row.number("hang"):
            hang(self.options.get("hanging"))
        if row.made == row.number("oom"):
            del self.rows[number]
            return RowStep(row=number, finish="oom")
        text = f"{row.params.seed}:{row.made} "
        logprobs = (TokenLogprob(token=text, logprob=-float(row.made)),)
        row.made += 1
        finish = "stop" if row.made == row.number("length") else None
        if finish is None and row.made == row.params.max_tokens:
            finish = "length"
        if finish is not None:
            del self.rows[number]
        return RowStep(
            row=number,
            text=text,
            tokens=1,
            cached_tokens=cached,
            logprobs=logprobs if row.params.logprobs else (),
            finish=finish,
        )
