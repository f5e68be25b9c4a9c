"""``python -m ttc_servers --service groq``: prints its base URL, serves until standard input ends or on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading

import msgspec

from ttc_servers.chat import KEY, ChatServer
from ttc_servers.faults import Choose, Fault, by_name, by_rate, named
from ttc_servers.script import Script
from ttc_servers.services import SHAPES


async def serve(options: argparse.Namespace) -> None:
    server = ChatServer(
        options.service,
        script=msgspec.json.decode(options.script, type=Script),
        faults=chooser(options),
        key=options.key or None,
        port=options.port,
        keep=False,
    )
    async with server:
        sys.stdout.write(server.base_url + "\n")
        sys.stdout.flush()
        await told_to_stop()


def chooser(options: argparse.Namespace) -> Choose:
    """Of the fault that is given, else by the names of the models asked for."""
    given: str = options.fault
    if not given:
        return by_name()
    fault = msgspec.json.decode(given, type=Fault) if given.startswith("{") else named(given)
    return by_rate(fault, options.rate, options.seed)


async def told_to_stop() -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def tell(*_: object) -> None:
        loop.call_soon_threadsafe(stop.set)

    def watch() -> None:
        # Unbuffered: a thread that waits in sys.stdin cannot be left behind at exit.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        if not loop.is_closed():
            tell()

    signal.signal(signal.SIGTERM, tell)
    threading.Thread(target=watch, daemon=True).start()
    await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", choices=tuple(SHAPES), default="openai")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default=KEY, help="empty = any will do")
    parser.add_argument("--script", default="{}", help="JSON of Script")
    parser.add_argument("--fault", "--faults", default="", help="cut@3, or JSON of Fault")
    parser.add_argument("--rate", type=float, default=1.0, help="share of requests that have it")
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
