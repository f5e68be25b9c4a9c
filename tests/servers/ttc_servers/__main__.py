"""``python -m ttc_servers --service groq``: prints its base URL, serves until standard input ends."""

from __future__ import annotations

import argparse
import asyncio
import sys

import msgspec

from ttc_servers.chat import KEY, ChatServer
from ttc_servers.faults import Fault, by_rate
from ttc_servers.script import Script


async def serve(options: argparse.Namespace) -> None:
    faults = None
    if options.fault:
        fault = msgspec.json.decode(options.fault, type=Fault)
        faults = by_rate(fault, options.rate, options.seed)
    script = msgspec.json.decode(options.script, type=Script)
    server = ChatServer(
        options.service,
        script=script,
        faults=faults,
        key=options.key or None,
        port=options.port,
        keep=False,
    )
    async with server:
        sys.stdout.write(server.base_url + "\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", choices=("groq", "cerebras", "openai"), default="openai")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--script", default="{}", help="JSON of Script")
    parser.add_argument("--fault", default="", help="JSON of Fault")
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
