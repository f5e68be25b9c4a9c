"""Where files of the user live, on every system, and the variables that move them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import platformdirs

from tt_compute.files import expanded

__all__ = ["CACHE_VARIABLE", "DATA_VARIABLE", "cache_dir", "config_dir", "data_dir"]

DATA_VARIABLE = "TTC_DATA_DIR"
CACHE_VARIABLE = "TTC_CACHE_DIR"
_NAME = "tt_compute"


def data_dir(environ: Mapping[str, str]) -> Path:
    """Absolute folder of receipts and observations: ``TTC_DATA_DIR``, else the system's place for data.

    The folder need not exist.
    """
    named = _named(environ, DATA_VARIABLE) or _xdg(environ, "XDG_DATA_HOME")
    return named or platformdirs.user_data_path(_NAME, appauthor=False)


def cache_dir(environ: Mapping[str, str]) -> Path:
    """Absolute folder of fetched models: ``TTC_CACHE_DIR``, else the system's place for caches.

    The folder need not exist.
    """
    named = _named(environ, CACHE_VARIABLE) or _xdg(environ, "XDG_CACHE_HOME")
    return named or platformdirs.user_cache_path(_NAME, appauthor=False)


def config_dir(environ: Mapping[str, str]) -> Path:
    """Absolute folder of the user's own ``ttc.yaml``. The folder need not exist."""
    named = _xdg(environ, "XDG_CONFIG_HOME")
    return named or platformdirs.user_config_path(_NAME, appauthor=False)


def _named(environ: Mapping[str, str], variable: str) -> Path | None:
    """An empty variable counts as unset."""
    value = environ.get(variable, "")
    return expanded(value).absolute() if value else None


def _xdg(environ: Mapping[str, str], variable: str) -> Path | None:
    """As platformdirs does, but from the given environment. A relative value does not count."""
    value = Path(environ.get(variable, ""))
    return value / _NAME if value.is_absolute() else None
