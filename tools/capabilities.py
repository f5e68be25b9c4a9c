"""Writes ``docs/reference/capabilities.md``: what each backend says it can. ``python tools/capabilities.py``."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import msgspec

from tt_compute.testing.mock_options import DEFAULT_CAPABILITIES
from tt_compute.types import Capabilities
from tt_compute_backends.loop.options import LoopOptions, loop_capabilities
from tt_compute_backends.openvino import OpenVinoOptions, capabilities
from tt_compute_backends.wire.services import SERVICES

__all__ = ["FILE", "text"]

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "capabilities.md"
HEAD = """\
# Capabilities

What each backend says it can, with its default options; made by `tools/capabilities.py` from the code.
What holds for a request is this AND what the profile says AND what the probe found.
[Their meaning](../testing.md#capabilities); what of it could not be tried is in [unverified](../unverified.md).

"""


def columns() -> dict[str, Capabilities]:
    loop = loop_capabilities(LoopOptions())
    return {
        "mock": DEFAULT_CAPABILITIES,
        "openvino": capabilities(OpenVinoOptions()),
        "onnxruntime": loop,
        "torch": loop,
    }


def servers() -> dict[str, Capabilities]:
    return {
        name: service.capabilities(streaming=True, native_n=False)
        for name, service in SERVICES.items()
    }


def table(head: str, rows: dict[str, Capabilities]) -> str:
    """One line a capability."""
    names = [field.name for field in msgspec.structs.fields(Capabilities)]
    lines = [[head, *(f"`{name}`" for name in rows)], ["---"] * (len(rows) + 1)]
    lines += [
        [f"`{name}`", *(shown(getattr(row, name)) for row in rows.values())] for name in names
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return ", ".join(f"`{item}`" for item in items) or "none"
    return str(value)


def text() -> str:
    """The page."""
    local = "## In this process, or beside it\n\n"
    wire = (
        "\n## Servers and clouds\n\n"
        "By kind of server: `groq` and `cerebras` are also backends of their own, the others are reached by "
        "`openai` with `options: {server: ...}`. With `native_n: true` a wave is one request, where the service "
        "has it, and cancelling ends all of it.\n\n"
    )
    return HEAD + local + table("capability", columns()) + wire + table("capability", servers())


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8", newline="\n")
