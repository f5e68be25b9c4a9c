"""A Hugging Face folder, given by its path in YAML, runs on each local backend."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import tt_compute as tt
from tt_compute.config import Config
from tt_compute.types import Sample

pytestmark = [pytest.mark.model, pytest.mark.anyio, pytest.mark.timeout(600)]
LIBRARIES = {"openvino": "openvino_genai", "onnxruntime": "onnxruntime", "torch": "torch"}


@pytest.fixture(scope="module")
def folder(tiny: Any, embedded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model as such a folder, in half precision."""
    import numpy as np

    from tt_compute_backends.llama.open import open_weights
    from tt_compute_backends.text.model import open_text

    made: Path = tiny.write_folder(
        open_weights(embedded_model),
        tmp_path_factory.mktemp("folder"),
        dtype=np.float16,
        text=open_text(embedded_model),
    )
    return made


@pytest.mark.parametrize("name", LIBRARIES)
async def test_a_folder_runs_on_each_backend(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec(LIBRARIES[name]) is None:
        pytest.skip(f"{LIBRARIES[name]} is not installed")
    monkeypatch.setenv("TTC_CACHE_DIR", str(tmp_path))
    entry = {"id": f"local/smollm2-135m-{name}", "override": {"source": {"path": str(folder)}}}
    config = Config.from_mapping({"deployments": [entry], "store": {"enabled": False}})
    async with tt.AsyncClient(config) as client:
        (sample,) = await client.generate(
            "What do bees make?",
            deployment=f"local/smollm2-135m-{name}",
            sampling=tt.SamplingParams(temperature=0, max_tokens=40),
        )
    assert isinstance(sample, Sample)
    assert sample.text.startswith("Bees are incredibly complex creatures")
