"""What an ONNX folder holds, read and checked without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import onnx
from onnx import TensorProto

from tt_compute.errors import ModelLoadError
from tt_compute_backends.onnx_files import (
    ATTENTION,
    GRAPH_FILE,
    HEAD_FILE,
    HIDDEN,
    LOGITS,
    PAST,
    ROTATIONS,
)
from tt_compute_backends.onnx_forward import GraphOutput, GraphShape

__all__ = ["read_graph"]

_KNOWN_INPUTS: Final = frozenset(("input_ids", "attention_mask", "position_ids"))
_DTYPES: Final[dict[int, str]] = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16"}
_library = cast("Any", onnx)


def read_graph(folder: Path) -> GraphShape:
    """Read the graph in ``folder`` and refuse what our loop could not run, or ONNX Runtime would misread.

    Raises:
        ModelLoadError: Missing, damaged, cut short, or of another make; the message says what.
    """
    path = folder / GRAPH_FILE
    shape = _shape(path, _graph(path))
    if (folder / HEAD_FILE).is_file():
        _graph(folder / HEAD_FILE)
    return shape


def _graph(path: Path) -> Any:
    try:
        graph = _library.load(str(path), load_external_data=False).graph
    except FileNotFoundError as error:
        raise ModelLoadError(f"{path} is missing") from error
    except Exception as error:
        raise ModelLoadError(f"{path} is not a whole ONNX file: {error}") from error
    _check_data(path, graph)
    return graph


def _check_data(path: Path, graph: Any) -> None:
    """Every piece of the weights lies inside a file of the folder."""
    folder = path.parent
    for tensor in graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}
        name = place.get("location", "")
        if Path(name).name != name or not name:
            raise ModelLoadError(f"{path}: weights in {name!r}, outside its folder")
        try:
            size = (folder / name).stat().st_size
            end = int(place.get("offset", "0")) + int(place.get("length", "0"))
        except (OSError, ValueError) as error:
            raise ModelLoadError(
                f"{folder / name} is missing or cannot be read: {error}"
            ) from error
        if end > size:
            raise ModelLoadError(
                f"{folder / name} is cut short: {tensor.name} ends at byte {end}, the file at byte {size}"
            )


def _shape(path: Path, graph: Any) -> GraphShape:
    inputs = {value.name: value.type.tensor_type for value in graph.input}
    outputs = {value.name: value.type.tensor_type for value in graph.output}
    layers = sum(name.startswith(PAST) and name.endswith(".key") for name in inputs)
    attentions = [node for node in graph.node if node.op_type == ATTENTION]
    unknown = [name for name in inputs if not name.startswith(PAST) and name not in _KNOWN_INPUTS]
    problem = None
    if not {"input_ids", "attention_mask"} <= inputs.keys():
        problem = "it lacks input_ids or attention_mask"
    elif not {LOGITS, HIDDEN} & outputs.keys():
        problem = f"it gives neither {LOGITS} nor {HIDDEN}"
    elif unknown:
        problem = f"it has the input {unknown[0]}, which we do not know"
    elif not layers or len(attentions) != layers:
        problem = (
            f"{len(attentions)} {ATTENTION} nodes for {layers} layers of past keys; our loop runs graphs whose "
            "attention writes to the past in place"
        )
    if problem is not None:
        raise ModelLoadError(
            f"{path} is not a graph that can be run here: {problem}",
            hint="give the model's GGUF file or Hugging Face folder, which is converted",
        )
    return _checked_shape(path, inputs, outputs, layers, _positions(graph, attentions))


def _positions(graph: Any, attentions: Sequence[Any]) -> int | None:
    sizes = {tensor.name: tensor.dims for tensor in graph.initializer}
    found = [
        sizes[node.input[ROTATIONS]][0]
        for node in attentions
        if len(node.input) > ROTATIONS and sizes.get(node.input[ROTATIONS])
    ]
    return min(found, default=None)


def _checked_shape(
    path: Path, inputs: Any, outputs: Any, layers: int, positions: int | None
) -> GraphShape:
    past = inputs[f"{PAST}0.key"]
    sizes = [dimension.dim_value for dimension in past.shape.dim]
    dtype = _DTYPES.get(past.elem_type)
    if len(sizes) != 4 or not sizes[1] or not sizes[3] or dtype is None:  # noqa: PLR2004 - dimensions
        raise ModelLoadError(f"{path}: its past keys have an unknown shape or type")
    return GraphShape(
        layers=layers,
        kv_heads=sizes[1],
        head_size=sizes[3],
        cache_dtype=dtype,
        position_ids="position_ids" in inputs,
        positions=positions,
        logits=_output(path, outputs, LOGITS),
        hidden=_output(path, outputs, HIDDEN),
    )


def _output(path: Path, outputs: Any, name: str) -> GraphOutput | None:
    if name not in outputs:
        return None
    sizes = [dimension.dim_value for dimension in outputs[name].shape.dim]
    dtype = _DTYPES.get(outputs[name].elem_type)
    if len(sizes) != 3 or not sizes[2] or dtype is None:  # noqa: PLR2004 - dimensions
        raise ModelLoadError(f"{path}: its {name} have an unknown shape or type")
    return GraphOutput(name=name, width=sizes[2], dtype=dtype, all_positions=sizes[1] != 1)
