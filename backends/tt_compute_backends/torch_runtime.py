"""torch behind the engine's seam, in our own decode loop."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch

from tt_compute.errors import ModelLoadError
from tt_compute_backends.engine.runtime import LoadRequest
from tt_compute_backends.llama.open import open_weights
from tt_compute_backends.llama.outputs import OUTPUTS
from tt_compute_backends.llama.pooling import read_pooling
from tt_compute_backends.llama.spec import LlamaWeights
from tt_compute_backends.llama.steps import read_steps
from tt_compute_backends.loop.options import loop_capabilities, loop_memory
from tt_compute_backends.loop.readable import Readable
from tt_compute_backends.loop.runtime import LoopModel, LoopRuntime
from tt_compute_backends.text.model import open_text
from tt_compute_backends.text.sequences import StepMarks
from tt_compute_backends.torch import TorchOptions
from tt_compute_backends.torch_forward import TorchForward

__all__ = ["TorchRuntime"]


class TorchRuntime(LoopRuntime):
    """Satisfies ``engine.runtime.Runtime`` and ``ReadingRuntime``."""

    def __init__(self) -> None:
        super().__init__(_load)


def _load(request: LoadRequest) -> LoopModel:
    options = msgspec.convert(request.options, TorchOptions)
    device = _device(request.device)
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    path = Path(request.model_path)
    weights = open_weights(path, OUTPUTS)
    generates = weights.spec.output == "tokens"
    text = open_text(path, chat_template=request.chat_template, generates=generates)
    spec = weights.spec
    steps = read_steps(path, spec.output, text, options.step_separator, spec.vocabulary_size)
    forward = TorchForward(weights, device=device, precision=options.dtype)
    return LoopModel(
        forward=forward,
        text=text,
        capabilities=loop_capabilities(options, generates=generates),
        memory=loop_memory(
            options,
            request,
            context_tokens=weights.spec.context_tokens,
            kv_bytes_per_token=forward.kv_bytes_per_token,
            free_bytes=forward.free_bytes(),
        ),
        versions={"torch": str(torch.__version__)},
        readable=_readable(forward, weights, path, steps),
    )


def _readable(
    forward: TorchForward, weights: LlamaWeights, path: Path, steps: StepMarks | None
) -> Readable:
    spec = weights.spec
    return Readable(
        forward=forward,
        output=spec.output,
        hidden_size=spec.hidden_size,
        logits=forward.logits if spec.output == "tokens" else None,
        reward=weights.reward(),
        pad_token=spec.pad_token,
        pooling=read_pooling(path) if spec.output == "none" else "mean",
        steps=steps,
    )


def _device(name: str) -> torch.device:
    """The device of that name, tried once.

    Raises:
        ModelLoadError: It is not there.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelLoadError(
            f"device {name!r} is not there for torch {torch.__version__}: {lines[0]}",
            hint="set placement.devices of the deployment; cpu is always there",
        ) from error
    return device
