"""Rewrites a GGUF file with weights in Q8_0, for runtimes that misread the type they are in.

    python -m tt_compute_backends.gguf_requantise SOURCE TARGET

OpenVINO GenAI 2026.4 turns the types with a minimum per block (Q4_1 and its like) into integers with a zero
point, and so moves every block by up to half a step. On the embedded model that costs more than a third of all
right answers (``docs/figures/requantised.md``). Q8_0 holds the same weights to within a hundredth of their range.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final, cast

import gguf

from tt_compute.errors import ModelLoadError
from tt_compute_backends.gguf import read_gguf_header
from tt_compute_backends.llama.gguf_writer import write_gguf

__all__ = ["FILE", "main", "read_as_they_are", "requantise"]

FILE: Final = "model.gguf"
"""In the target folder."""
_READ_EXACTLY: Final = frozenset(("F32", "F16", "Q8_0", "Q4_0"))
"""Types that OpenVINO GenAI reads as they are: floats, and integers around 0."""
_BLOCK: Final = 32

_library = cast("Any", gguf)


def read_as_they_are(path: Path) -> bool:
    """Whether OpenVINO GenAI computes with the weights that the file holds.

    Raises:
        ModelLoadError: Not a whole GGUF file.
    """
    kinds = {tensor.type for tensor in read_gguf_header(path).tensors}
    return {_library.GGMLQuantizationType(kind).name for kind in kinds} <= _READ_EXACTLY


def requantise(source: Path, target: Path) -> None:
    """Write ``target``, a file, with all matrices in Q8_0 and everything else as it is in ``source``.

    Args:
        source: A GGUF file, or a Hugging Face folder of the Llama family.
        target: Written over.

    Raises:
        ModelLoadError: The source is not a whole GGUF file, or holds a type that cannot be read.
        OSError: The target cannot be written.
    """
    if source.is_dir():
        write_gguf(source, target)
        return
    read_gguf_header(source)
    reader = _library.GGUFReader(source)
    architecture: str = reader.fields["general.architecture"].contents()
    writer = _library.GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name not in _WRITTEN_ANYWAY:
            inner = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    writer.add_file_type(_library.LlamaFileType.MOSTLY_Q8_0)
    for tensor in reader.tensors:
        _add(writer, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


_WRITTEN_ANYWAY: Final = frozenset(("general.architecture", "general.file_type"))


def _add(writer: Any, tensor: Any) -> None:
    shape = tuple(int(size) for size in tensor.shape[::-1])
    try:
        values = _library.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
    except (KeyError, NotImplementedError, ValueError) as error:
        raise ModelLoadError(
            f"tensor {tensor.name} is of type {tensor.tensor_type.name}, which cannot be read"
        ) from error
    if len(shape) == 1 or shape[-1] % _BLOCK:
        writer.add_tensor(tensor.name, values)
        return
    kind = _library.GGMLQuantizationType.Q8_0
    writer.add_tensor(tensor.name, _library.quants.quantize(values, kind), raw_dtype=kind)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 1 with the reason as the last line of standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path, help="an existing, empty folder")
    given = parser.parse_args(arguments)
    try:
        requantise(given.source, given.target / FILE)
    except (ModelLoadError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
