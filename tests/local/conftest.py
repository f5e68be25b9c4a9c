"""The tiny models importable here, in every shape that the family has, and on every runtime that reads texts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tt_compute_backends.engine.runtime import LoadRequest

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


# --- the runtimes that read texts ----------------------------------------------------------------


def _torch(folder: Path) -> tuple[str, Path, dict[str, Any]]:
    pytest.importorskip("torch")
    return "torch_runtime:TorchRuntime", folder, {"dtype": "fp32"}


def _onnxruntime(folder: Path) -> tuple[str, Path, dict[str, Any]]:
    pytest.importorskip("onnxruntime")
    return "onnx_runtime:OnnxRuntime", _converted(folder), {}


def _openvino(folder: Path) -> tuple[str, Path, dict[str, Any]]:
    pytest.importorskip("openvino")
    # Otherwise it computes in what the processor is quickest at, such as bf16.
    return "openvino_reader:OpenVinoReader", _converted(folder), {"reproducible": True}


def _converted(folder: Path) -> Path:
    from tt_compute_backends.onnx_convert import convert

    target = folder.with_name("graph")
    target.mkdir(exist_ok=True)
    convert(folder, target, "fp32")
    return target


RUNTIMES = {"torch": _torch, "onnxruntime": _onnxruntime, "openvino": _openvino}


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """Name of one that reads texts."""
    name: str = request.param
    return name


@pytest.fixture
def open_folder(runtime: str) -> Callable[..., Any]:
    """Loads a model from a Hugging Face folder, in float32."""

    def make(folder: Path, limits: dict[str, Any], **options: Any) -> Any:
        place, path, exact = RUNTIMES[runtime](folder)
        module, _, name = place.partition(":")
        made = getattr(importlib.import_module(f"tt_compute_backends.{module}"), name)()
        values: dict[str, Any] = {
            "memory_bytes": None,
            "max_context_tokens": None,
            "chat_template": None,
        }
        made.load(
            LoadRequest(
                runtime=f"tt_compute_backends.{place}",
                model_path=str(path),
                device="CPU" if runtime == "openvino" else "cpu",
                threads=1,
                max_rows=4,
                options=exact | options,
                **(values | limits),
            )
        )
        return made

    return make
