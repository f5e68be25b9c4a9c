"""The tiny models importable here, in every shape that the family has."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

_SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama-untied": {"tied": False},
    "llama-stretched": {"rope_factors": (4.0,) * 8},
    "qwen2": {"architecture": "qwen2"},
    "qwen3": {"architecture": "qwen3"},
}


@pytest.fixture(scope="session")
def tiny() -> Any:
    """The module of the tiny models."""
    sys.path.append(str(Path(__file__).parent))
    return importlib.import_module("tiny")


@pytest.fixture(params=_SHAPES)
def tiny_model(request: pytest.FixtureRequest, tiny: Any) -> Any:
    """One model of each shape."""
    return tiny.TinyModel(**_SHAPES[request.param])
