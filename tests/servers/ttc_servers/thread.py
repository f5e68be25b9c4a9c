"""A server on a loop in a thread of its own, for tests whose own code blocks, as a command line does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ttc_servers.chat import ChatServer

__all__ = ["in_thread"]


@contextmanager
def in_thread(make: Callable[[], ChatServer]) -> Generator[ChatServer]:
    """The server that ``make`` makes, started; its attributes may be set while it runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = make()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
