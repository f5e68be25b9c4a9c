"""Writes a model of the Llama family as an ONNX file, with the operators that ONNX Runtime is quickest at.

Inputs and outputs have the names that onnxruntime-genai's builder gives them: either's files run in either's loop.
Operators: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from onnx import NodeProto, TensorProto, helper

from tt_compute_backends.llama.spec import F32, LayerWeights, LlamaSpec, LlamaWeights
from tt_compute_backends.onnx_files import (
    DATA_FILE,
    GRAPH_FILE,
    HEAD_FILE,
    HIDDEN,
    LOGITS,
    PAST,
    PRESENT,
    GraphPrecision,
)
from tt_compute_backends.onnx_nodes import MICROSOFT, NodeWriter

__all__ = ["write_graph"]


_BITS: Final[dict[str, int]] = {"int8": 8, "int4": 4}
_OPSET, _IR_VERSION = 21, 10


def write_graph(weights: LlamaWeights, folder: Path, precision: GraphPrecision) -> None:
    """Write ``model.onnx`` and ``model.onnx.data`` into ``folder``, a layer at a time.

    Every graph gives the hidden states behind the last norm; that of a model which generates also the last position's
    logits, and ``head.onnx`` stands beside it.

    Raises:
        OSError
    """
    with (folder / DATA_FILE).open("wb") as data:
        writer = _Writer(weights.spec, data, precision)
        model = writer.model(weights)
    (folder / GRAPH_FILE).write_bytes(model.SerializeToString())
    if weights.spec.output == "tokens":
        (folder / HEAD_FILE).write_bytes(writer.head().SerializeToString())


class _Writer(NodeWriter):
    """One model as nodes."""

    def __init__(self, spec: LlamaSpec, data: BinaryIO, precision: GraphPrecision) -> None:
        super().__init__(data, bits=_BITS.get(precision), epsilon=spec.norm_epsilon)
        self._spec = spec

    def model(self, weights: LlamaWeights) -> Any:
        self._positions()
        # Half precision holds what a quantised file holds of it.
        embedding = weights.embedding().astype(np.float32 if self.bits is None else np.float16)
        self.constant("embedding", embedding)
        self.node("Gather", ["embedding", "input_ids"], ["embedded_as_held"])
        self.node("Cast", ["embedded_as_held"], ["embedded"], to=TensorProto.FLOAT)
        x, addend = "embedded", None
        for index in range(self._spec.layers):
            x, addend = self._layer(index, weights.layer(index), x, addend)
        self.norm("final", weights.final_norm(), x, addend, HIDDEN)
        if self._spec.output == "tokens":
            # Only the last position is ever sampled from.
            self.node("Slice", [HIDDEN, "last", "end", "one"], ["last_hidden"])
            self.matmul("head", weights.head(), "last_hidden", LOGITS)
        return self._finish()

    def head(self) -> Any:
        """Of a model that was written before."""
        (written,) = (node for node in self.nodes if node.output[0] == LOGITS)
        node = NodeProto()
        node.CopyFrom(written)
        node.input[0] = HIDDEN
        constants = [constant for constant in self.constants if constant.name in written.input]
        value, spec = helper.make_tensor_value_info, self._spec
        hidden = value(HIDDEN, TensorProto.FLOAT, ["tokens", spec.hidden_size])
        logits = value(LOGITS, TensorProto.FLOAT, ["tokens", spec.vocabulary_size])
        return _made(helper.make_graph([node], "head", [hidden], [logits], constants))

    # --- parts of the model ----------------------------------------------------------------------

    def _positions(self) -> None:
        """Lengths from the mask, and the rotations of all positions."""
        spec = self._spec
        half = spec.head_size // 2
        factors = np.array(spec.rope_factors or (1.0,) * half)
        frequencies = spec.rope_theta ** (-np.arange(half) * 2 / spec.head_size) / factors
        angles = np.outer(np.arange(spec.context_tokens), frequencies)
        self.constant("cos_cache", np.cos(angles).astype(np.float32))
        self.constant("sin_cache", np.sin(angles).astype(np.float32))
        for name, value in {"one": 1, "last": -1, "end": 2**62}.items():
            self.integers(name, [value])
        self.constants.append(helper.make_tensor("second", TensorProto.INT64, [], [1]))
        self.node("ReduceSum", ["attention_mask", "one"], ["lengths"], keepdims=0)
        self.node("Sub", ["lengths", "one"], ["last_positions"])
        self.node("Cast", ["last_positions"], ["seqlens_k"], to=TensorProto.INT32)
        self.node("Shape", ["attention_mask"], ["mask_shape"])
        self.node("Gather", ["mask_shape", "second"], ["total64"])
        self.node("Cast", ["total64"], ["total_sequence_length"], to=TensorProto.INT32)

    def _layer(
        self, index: int, weights: LayerWeights, x: str, addend: str | None
    ) -> tuple[str, str]:
        """Returns the residual stream and what is still to be added to it."""
        name = f"layers.{index}"
        x, normed = self.norm(f"{name}.attention_norm", weights.attention_norm, x, addend)
        attended = self._attention(index, name, weights, normed)
        self.matmul(f"{name}.o", weights.o, attended, f"{name}.attention")
        x, normed = self.norm(f"{name}.ffn_norm", weights.ffn_norm, x, f"{name}.attention")
        gate_up = np.concatenate((weights.gate, weights.up))
        self.matmul(f"{name}.gate_up", gate_up, normed, f"{name}.gate_up_out")
        self.node(
            "Split", [f"{name}.gate_up_out"], [f"{name}.gate", f"{name}.up"], axis=-1, num_outputs=2
        )
        self.node("QuickGelu", [f"{name}.gate"], [f"{name}.swish"], MICROSOFT, alpha=1.0)
        self.node("Mul", [f"{name}.swish", f"{name}.up"], [f"{name}.gated"])
        self.matmul(f"{name}.down", weights.down, f"{name}.gated", f"{name}.ffn")
        return x, f"{name}.ffn"

    def _attention(self, index: int, name: str, weights: LayerWeights, normed: str) -> str:
        qkv = np.concatenate((weights.q, weights.k, weights.v))
        bias = None
        if weights.q_bias is not None and weights.k_bias is not None and weights.v_bias is not None:
            bias = np.concatenate((weights.q_bias, weights.k_bias, weights.v_bias))
        self.matmul(f"{name}.qkv", qkv, normed, f"{name}.qkv_out", bias)
        q, k, v = f"{name}.qkv_out", "", ""
        if weights.q_norm is not None and weights.k_norm is not None:
            q, k, v = self._normed_heads(name, weights.q_norm, weights.k_norm)
        past = [f"{PAST}{index}.key", f"{PAST}{index}.value"]
        present = [f"{PRESENT}{index}.key", f"{PRESENT}{index}.value"]
        self.node(
            "GroupQueryAttention",
            [q, k, v, *past, "seqlens_k", "total_sequence_length", "cos_cache", "sin_cache"],
            [f"{name}.attended", *present],
            MICROSOFT,
            num_heads=self._spec.heads,
            kv_num_heads=self._spec.kv_heads,
            do_rotary=1,
            rotary_interleaved=0,
        )
        return f"{name}.attended"

    def _normed_heads(self, name: str, q_norm: F32, k_norm: F32) -> tuple[str, str, str]:
        """Each head's query and key normed by itself."""
        spec = self._spec
        sizes = [spec.heads * spec.head_size] + [spec.kv_heads * spec.head_size] * 2
        self.integers(f"{name}.sizes", sizes)
        outs = [f"{name}.{part}" for part in "qkv"]
        self.node("Split", [f"{name}.qkv_out", f"{name}.sizes"], outs, axis=-1)
        for part, norm, heads in (("q", q_norm, spec.heads), ("k", k_norm, spec.kv_heads)):
            at = f"{name}.{part}"
            for to, shape in (("heads", [0, 0, heads, spec.head_size]), ("flat", [0, 0, -1])):
                self.integers(f"{at}.{to}_shape", shape)
            self.node("Reshape", [at, f"{at}.heads_shape"], [f"{at}.heads"])
            self.rms(f"{at}.norm", norm, f"{at}.heads", f"{at}.normed")
            self.node("Reshape", [f"{at}.normed", f"{at}.flat_shape"], [f"{at}.flat"])
        return f"{name}.q.flat", f"{name}.k.flat", f"{name}.v"

    # --- the file --------------------------------------------------------------------------------

    def _finish(self) -> Any:
        spec = self._spec
        value = helper.make_tensor_value_info
        inputs = [
            value("input_ids", TensorProto.INT64, ["batch", "tokens"]),
            value("attention_mask", TensorProto.INT64, ["batch", "total"]),
        ]
        outputs = [value(HIDDEN, TensorProto.FLOAT, ["batch", "tokens", spec.hidden_size])]
        if spec.output == "tokens":
            outputs.insert(0, value(LOGITS, TensorProto.FLOAT, ["batch", 1, spec.vocabulary_size]))
        for index in range(spec.layers):
            for part in ("key", "value"):
                for to, name, length in (
                    (inputs, f"{PAST}{index}.{part}", "past"),
                    (outputs, f"{PRESENT}{index}.{part}", "present"),
                ):
                    shape: list[str | int | None] = ["batch", spec.kv_heads, length, spec.head_size]
                    to.append(value(name, TensorProto.FLOAT, shape))
        return _made(helper.make_graph(self.nodes, "llama", inputs, outputs, self.constants))


def _made(graph: Any) -> Any:
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
