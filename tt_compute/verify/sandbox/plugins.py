"""Sandboxes by name: the default, and what other distributions register."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from tt_compute.errors import UnknownNameError, VerifierError
from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox
from tt_compute.verify.sandbox.types import Sandbox

__all__ = ["DEFAULT", "GROUP", "VARIABLE", "get_sandbox"]

GROUP = "tt_compute.sandboxes"
"""The entry-point group; an entry is ``name = "module:function"``, a function without arguments."""
DEFAULT = BubblewrapSandbox.name
VARIABLE = "TTC_SANDBOX"
"""Of the environment: the sandbox to use instead of the default."""
_MEMBERS = ("name", "ready", "run", "close")


def get_sandbox(name: str = DEFAULT, entries: Iterable[EntryPoint] | None = None) -> Sandbox:
    """A sandbox by name; nothing is started yet.

    Args:
        name: ``bubblewrap``, or what a distribution registers.
        entries: The entry points to use; None = those of the installed distributions.

    Raises:
        UnknownNameError: Nothing answers to the name.
        VerifierError: The plug-in cannot be loaded, or made something else.
    """
    if name == DEFAULT:
        return BubblewrapSandbox()
    found = {one.name: one for one in (entry_points(group=GROUP) if entries is None else entries)}
    if name not in found:
        raise UnknownNameError(
            f"there is no sandbox {name!r}", hint=f"sandboxes: {', '.join((DEFAULT, *found))}"
        )
    try:
        made: Any = found[name].load()()
    except Exception as error:
        # The boundary to code that is not ours, which may raise anything.
        raise VerifierError(f"the sandbox {name!r} cannot be made: {error}") from error
    missing = [member for member in _MEMBERS if not hasattr(made, member)]
    if missing:
        raise VerifierError(
            f"the sandbox {name!r} lacks {', '.join(missing)}",
            hint="see tt_compute.verify.sandbox.types.Sandbox for what a sandbox must have",
        )
    return cast("Sandbox", made)
