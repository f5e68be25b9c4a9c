"""``ttc mock``: scenarios of mock deployments, for programs that are not Python."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path

import click

from tt_compute.cli.loop import run_async
from tt_compute.cli.shared import Output, command, example
from tt_compute.errors import UsageError
from tt_compute.testing.scenario import Scenario

__all__ = ["mock"]

_MAX_PORT = 65_535


@click.group()
def mock() -> None:
    """Scenarios of mock deployments, for programs that are not Python."""


@mock.command("serve", epilog=example("ttc mock serve scenario.yaml --port 8080"))
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, _MAX_PORT),
    default=0,
    help="Port to listen at (default 0: one that is free).",
)
@command
def serve(output: Output, *, scenario: Path, host: str, port: int) -> None:
    """Play a scenario as an OpenAI-compatible HTTP server, until Ctrl-C."""
    read = Scenario.load(scenario)
    if find_spec("aiohttp") is None:
        raise UsageError(
            "serving needs aiohttp, which is not installed", hint='pip install "tt-compute[openai]"'
        )
    run_async(_serve, output, read, host, port)


async def _serve(output: Output, scenario: Scenario, host: str, port: int) -> None:
    from tt_compute.testing.mock_server import MockServer  # noqa: PLC0415 - needs aiohttp

    async with MockServer.serving(scenario, host=host, port=port) as server:
        if output.as_json:
            served = [deployment.id for deployment in scenario.deployments]
            output.document({"url": server.url, "models": served})
        else:
            output.say(server.url)
        await _until_interrupted()


async def _until_interrupted() -> None:
    await asyncio.Event().wait()
