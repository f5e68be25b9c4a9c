"""Where weights lie: a shared cache of checked files and the sources that fill it."""

from __future__ import annotations

from tt_compute.modelstore.store import LocalModelStore, StoredFile
from tt_compute.modelstore.transfer import ProgressCallback

__all__ = ["LocalModelStore", "ProgressCallback", "StoredFile"]
