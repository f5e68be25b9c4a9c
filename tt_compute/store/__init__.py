"""What is remembered of past runs: numbers and hashes in SQLite, and what they teach the planner."""

from __future__ import annotations

from tt_compute.store.database import StoreInfo
from tt_compute.store.store import Store

__all__ = ["Store", "StoreInfo"]
