"""Exit codes; 0 is done."""

from __future__ import annotations

__all__ = ["BAD_USAGE", "FAILED", "INTERRUPTED"]

BAD_USAGE = 2
FAILED = 4
INTERRUPTED = 130
