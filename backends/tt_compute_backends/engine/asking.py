"""The parent's side of calls that have one answer."""

from __future__ import annotations

import anyio

from tt_compute_backends.engine.messages import WireError
from tt_compute_backends.engine.runtime import Vectors

__all__ = ["Asking"]

Answer = Vectors | WireError


class _Call:
    def __init__(self) -> None:
        self.told = anyio.Event()
        self.answer: Answer = []


class Asking:
    """Who waits for what of one engine; used from one event loop."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}

    async def answer(self, number: int) -> Answer:
        """Wait for the answer to call ``number``, which has been sent."""
        call = self._calls[number] = _Call()
        try:
            await call.told.wait()
        finally:
            del self._calls[number]
        return call.answer

    def tell(self, number: int, answer: Answer) -> None:
        """Hand it over; of calls that were given up nobody is told."""
        call = self._calls.get(number)
        if call is not None and not call.told.is_set():
            call.answer = answer
            call.told.set()

    def lose(self, error: WireError) -> None:
        """No answer will come any more."""
        for number in self._calls:
            self.tell(number, error)
