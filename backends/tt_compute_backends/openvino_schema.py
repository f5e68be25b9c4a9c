"""Compiles JSON schemas away from the running batch.

OpenVINO GenAI accepts any schema and compiles it inside the step that first needs it; a bad one makes
that step, and every later one, fail for all requests. It offers no compilation on its own. So each
schema is first run on a pipeline of its own over a model of one layer of zeros (about 3 MB, built in
60 ms), which shares the tokenizer and with it the compiled schemas.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from math import prod
from pathlib import Path

from tt_compute.errors import InvalidRequestError
from tt_compute_backends.openvino_library import (
    Pipeline,
    Tokenizer,
    new_pipeline,
    openvino_genai,
    tensor,
)

__all__ = ["SchemaCompiler"]

_WIDTH = 32
"""Of the stand-in model: the smallest head that the attention kernels take."""
_KV_BLOCKS = 4
_F32, _F16 = 0, 1
_U32_VALUE, _F32_VALUE, _STRING_VALUE = 4, 6, 8
_ALIGNMENT = 32
_REASON_CHARACTERS = 300


class SchemaCompiler:
    """Says whether a schema compiles.

    Args:
        tokenizer: Of the model that will use the schemas.
        logits: Width of that model's output layer.
    """

    def __init__(self, tokenizer: Tokenizer, logits: int) -> None:
        self._tokenizer = tokenizer
        self._logits = logits
        self._pipeline: Pipeline | None = None
        self._good: set[str] = set()
        self._requests = 0

    def check(self, schema: str) -> None:
        """Compile ``schema``, a JSON text.

        Raises:
            InvalidRequestError: It does not compile; the message says why.
        """
        if schema in self._good:
            return
        if self._pipeline is None:
            self._pipeline = _stand_in(self._tokenizer, self._logits)
        self._compile(self._pipeline, schema)
        self._good.add(schema)

    def _compile(self, pipeline: Pipeline, schema: str) -> None:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = 1
        config.structured_output_config = openvino_genai.StructuredOutputConfig(json_schema=schema)
        self._requests += 1
        handle = pipeline.add_request(self._requests, tensor([0]), config)
        try:
            pipeline.step()
        except RuntimeError as error:
            # A cancelled request is dropped before it is compiled again.
            handle.cancel()
            pipeline.step()
            raise InvalidRequestError(
                f"the JSON schema does not compile: {_reason(error)}"
            ) from error


def _reason(error: RuntimeError) -> str:
    """The library's last line, without the place in its source."""
    lines = str(error).strip().splitlines() or ["no reason given"]
    _, _, reason = lines[-1].rpartition(".cc:")
    _, _, reason = reason.partition(": ")
    return (reason or lines[-1])[:_REASON_CHARACTERS]


def _stand_in(tokenizer: Tokenizer, logits: int) -> Pipeline:
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks = _KV_BLOCKS
    scheduler.enable_prefix_caching = False
    with tempfile.TemporaryDirectory(prefix="ttc-schema-") as folder:
        path = Path(folder) / "zeros.gguf"
        _write_zeros(path, logits)
        return new_pipeline(str(path), tokenizer, scheduler, "CPU", {"INFERENCE_NUM_THREADS": 1})


def _write_zeros(path: Path, logits: int) -> None:
    """Write a llama of one layer whose weights are a hole in the file."""
    tensors = _tensors(logits)
    pairs = _metadata()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs)
    offset = 0
    for name, shape in tensors.items():
        kind = _F32 if "norm" in name else _F16
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        offset += _aligned(prod(shape) * (4 if kind == _F32 else 2))
    with path.open("wb") as file:
        file.write(head)
        file.truncate(_aligned(len(head)) + offset)


def _tensors(logits: int) -> dict[str, Sequence[int]]:
    square = {
        f"blk.0.{name}.weight": (_WIDTH, _WIDTH)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    }
    norms = ("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight")
    return {"token_embd.weight": (_WIDTH, logits), **square, **dict.fromkeys(norms, (_WIDTH,))}


def _metadata() -> list[bytes]:
    numbers = {
        "general.file_type": 1,
        "llama.block_count": 1,
        "llama.embedding_length": _WIDTH,
        "llama.context_length": _ALIGNMENT,
        "llama.attention.head_count": 1,
        "llama.attention.head_count_kv": 1,
    }
    architecture = _string("general.architecture") + struct.pack("<I", _STRING_VALUE)
    epsilon = _string("llama.attention.layer_norm_rms_epsilon")
    return [
        architecture + _string("llama"),
        epsilon + struct.pack("<If", _F32_VALUE, 1e-5),
        *(_string(key) + struct.pack("<II", _U32_VALUE, value) for key, value in numbers.items()),
    ]


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
