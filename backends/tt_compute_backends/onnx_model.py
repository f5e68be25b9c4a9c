"""What an ONNX folder holds, read and checked without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

import onnx
from onnx import TensorProto

from tt_compute.errors import ModelLoadError
from tt_compute_backends.onnx_forward import GraphShape
from tt_compute_backends.onnx_graph import GRAPH_FILE

__all__ = ["read_graph"]

_ATTENTION: Final = "GroupQueryAttention"
_KNOWN_INPUTS: Final = frozenset(("input_ids", "attention_mask", "position_ids"))
_DTYPES: Final[dict[int, str]] = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16"}
_PAST: Final = "past_key_values."
_library = cast("Any", onnx)


def read_graph(folder: Path) -> GraphShape:
    """Read the graph in ``folder`` and refuse what our loop could not run, or ONNX Runtime would misread.

    Raises:
        ModelLoadError: Missing, damaged, cut short, or of another make; the message says what.
    """
    path = folder / GRAPH_FILE
    try:
        model = _library.load(str(path), load_external_data=False)
    except FileNotFoundError as error:
        raise ModelLoadError(f"{path} is missing") from error
    except Exception as error:
        raise ModelLoadError(f"{path} is not a whole ONNX file: {error}") from error
    _check_data(folder, model.graph)
    return _shape(path, model.graph)


def _check_data(folder: Path, graph: Any) -> None:
    """Every piece of the weights lies inside a file of the folder."""
    for tensor in graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}
        name = place.get("location", "")
        if Path(name).name != name or not name:
            raise ModelLoadError(f"{folder / GRAPH_FILE}: weights in {name!r}, outside its folder")
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
    layers = sum(name.startswith(_PAST) and name.endswith(".key") for name in inputs)
    attentions = [node for node in graph.node if node.op_type == _ATTENTION]
    unknown = [name for name in inputs if not name.startswith(_PAST) and name not in _KNOWN_INPUTS]
    problem = None
    if not {"input_ids", "attention_mask"} <= inputs.keys() or "logits" not in outputs:
        problem = "it lacks input_ids, attention_mask or logits"
    elif unknown:
        problem = f"it has the input {unknown[0]}, which we do not know"
    elif not layers or len(attentions) != layers:
        problem = (
            f"{len(attentions)} {_ATTENTION} nodes for {layers} layers of past keys; our loop runs graphs whose "
            "attention writes to the past in place"
        )
    if problem is not None:
        raise ModelLoadError(
            f"{path} is not a graph that can be run here: {problem}",
            hint="give the model's GGUF file or Hugging Face folder, which is converted",
        )
    return _checked_shape(path, inputs, outputs, layers)


def _checked_shape(path: Path, inputs: Any, outputs: Any, layers: int) -> GraphShape:
    past, logits = inputs[f"{_PAST}0.key"], outputs["logits"]
    sizes = [dimension.dim_value for dimension in past.shape.dim]
    width = logits.shape.dim[-1].dim_value
    dtypes = [_DTYPES.get(value.elem_type) for value in (past, logits)]
    if len(sizes) != 4 or not sizes[1] or not sizes[3] or not width or None in dtypes:  # noqa: PLR2004 - dimensions
        raise ModelLoadError(f"{path}: its past keys or logits have an unknown shape or type")
    return GraphShape(
        layers=layers,
        kv_heads=sizes[1],
        head_size=sizes[3],
        vocabulary_size=width,
        cache_dtype=str(dtypes[0]),
        logits_dtype=str(dtypes[1]),
        all_positions=logits.shape.dim[1].dim_value != 1,
        position_ids="position_ids" in inputs,
    )
