"""A user's functions: finding them by name, and calling them, plain or asynchronous."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anyio.to_thread

from tt_compute.errors import UnknownNameError, VerifierError

__all__ = ["call_user", "load_function", "name_of"]

_REFERENCE = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_][\w.]*)")


async def call_user(function: Callable[..., Any], *arguments: object) -> object:
    """What the function returns; a plain one runs in a worker thread, which is left behind on cancellation.

    Raises:
        Exception: Whatever it raises.
    """
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - asks how it is defined, not whether
    ):
        found: object = await function(*arguments)
        return found
    found = await anyio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)
    return await found if inspect.isawaitable(found) else found


def name_of(function: Callable[..., Any]) -> str:
    """The function's own name, for receipts and errors."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def load_function(reference: str) -> Callable[..., Any] | None:
    """The function that ``module:function`` names, with the current directory on the import path.

    Returns:
        None when ``reference`` is not of that form.

    Raises:
        UnknownNameError: There is none.
        VerifierError: The module raised when it was imported.
    """
    parts = _REFERENCE.fullmatch(reference)
    if parts is None:
        return None
    directory = str(Path.cwd())
    if directory not in sys.path:
        # Stays there, so that the user's module can import its neighbours later on.
        sys.path.insert(0, directory)
    found: Any
    try:
        found = importlib.import_module(parts["module"])
        for part in parts["name"].split("."):
            found = getattr(found, part)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UnknownNameError(f"{reference} cannot be found: {error}") from error
    except Exception as error:
        # The boundary to code that is not ours, which may raise anything on import.
        raise VerifierError(
            f"importing {parts['module']!r} raised {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise UnknownNameError(f"{reference} is not a function")
    return cast("Callable[..., Any]", found)
