"""Nodes of an ONNX graph, one by one, while their weights go straight to a file beside it."""

from __future__ import annotations

from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tt_compute_backends.llama.spec import F32
from tt_compute_backends.onnx_files import DATA_FILE
from tt_compute_backends.onnx_weights import BLOCK, quantise

__all__ = ["MICROSOFT", "NodeWriter"]

MICROSOFT: Final = "com.microsoft"
"""Domain of ONNX Runtime's own operators."""
_INT8_ACTIVATIONS: Final = 4
"""``accuracy_level``: activations are rounded to 8 bits per block, too."""
_ALIGNMENT: Final = 64


class NodeWriter:
    """Collects nodes and small constants; large ones are written as they come.

    Args:
        data: Where weights go.
        bits: Of a matrix's values; None = float32.
        epsilon: Of the norms.
    """

    def __init__(self, data: BinaryIO, *, bits: int | None, epsilon: float) -> None:
        self.bits = bits
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._data = data
        self._epsilon = epsilon

    def norm(
        self, name: str, scale: F32, x: str, addend: str | None, out: str | None = None
    ) -> tuple[str, str]:
        """Adds what is to be added, and norms the sum; returns the sum and the normed one."""
        out = out or f"{name}.out"
        if addend is None:
            self.rms(name, scale, x, out)
            return x, out
        self.constant(f"{name}.scale", scale)
        self.node(
            "SkipSimplifiedLayerNormalization",
            [x, addend, f"{name}.scale"],
            [out, "", "", f"{name}.sum"],
            MICROSOFT,
            epsilon=self._epsilon,
        )
        return f"{name}.sum", out

    def rms(self, name: str, scale: F32, x: str, out: str) -> None:
        self.constant(f"{name}.scale", scale)
        self.node(
            "SimplifiedLayerNormalization",
            [x, f"{name}.scale"],
            [out],
            axis=-1,
            epsilon=self._epsilon,
            stash_type=1,
        )

    def matmul(self, name: str, matrix: F32, x: str, out: str, bias: F32 | None = None) -> None:
        product = out if bias is None else f"{name}.product"
        if self.bits is None:
            self.constant(f"{name}.weight", np.ascontiguousarray(matrix.T))
            self.node("MatMul", [x, f"{name}.weight"], [product])
        else:
            self._quantised_matmul(name, matrix, x, product)
        if bias is not None:
            self.constant(f"{name}.bias", bias)
            self.node("Add", [product, f"{name}.bias"], [out])

    def _quantised_matmul(self, name: str, matrix: F32, x: str, out: str) -> None:
        assert self.bits is not None
        held = quantise(matrix, self.bits)
        inputs = [x, f"{name}.weight", f"{name}.scales"]
        self.constant(inputs[1], held.packed)
        self.constant(inputs[2], held.scales)
        if held.zero_points is not None:
            inputs.append(f"{name}.zeros")
            self.constant(inputs[3], held.zero_points)
        outputs, width = matrix.shape
        self.node(
            "MatMulNBits",
            inputs,
            [out],
            MICROSOFT,
            K=width,
            N=outputs,
            bits=self.bits,
            block_size=BLOCK,
            accuracy_level=_INT8_ACTIVATIONS,
        )

    def node(
        self, kind: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any
    ) -> None:
        self.nodes.append(
            helper.make_node(kind, inputs, outputs, name=outputs[0], domain=domain, **attributes)
        )

    def integers(self, name: str, values: list[int]) -> None:
        tensor = helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
        self.constants.append(tensor)

    def constant(self, name: str, values: NDArray[Any]) -> None:
        """Append the numbers to the data file and refer to them."""
        self._data.write(b"\0" * (-self._data.tell() % _ALIGNMENT))
        tensor = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(values.dtype),
            dims=values.shape,
            data_location=TensorProto.EXTERNAL,
        )
        place = {"location": DATA_FILE, "offset": self._data.tell(), "length": values.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self._data.write(np.ascontiguousarray(values).tobytes())
        self.constants.append(tensor)
