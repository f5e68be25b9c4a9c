"""What task groups raise, for callers who know of no groups."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["first_error"]


@contextmanager
def first_error() -> Generator[None]:
    """Raise the first error of a task group that stands in this block by itself.

    What the caller's own iterable, callback or file raised is the caller's to catch, under its own name.
    """
    try:
        yield
    except BaseExceptionGroup as many:
        raise many.exceptions[0] from None
