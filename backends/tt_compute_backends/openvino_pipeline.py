"""Builds OpenVINO GenAI's continuous-batching pipeline for one model file."""

from __future__ import annotations

from tt_compute.errors import ModelLoadError
from tt_compute_backends.engine.runtime import LoadRequest
from tt_compute_backends.openvino import OpenVinoOptions
from tt_compute_backends.openvino_library import (
    LIBRARY_ERRORS,
    Pipeline,
    Tokenizer,
    available_devices,
    new_pipeline,
    new_tokenizer,
    openvino_genai,
)
from tt_compute_backends.openvino_model import OpenVinoModel

__all__ = ["PipelineBuilder"]

_DEFAULT_CACHE_BYTES = 1 << 30
_VIRTUAL_DEVICES = ("AUTO", "HETERO", "MULTI", "BATCH")
"""Names that stand for a choice among the real devices."""
_EXACT = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
}
"""Settings of the exact mode. They make batches agree to about 1e-5, which still flips a close token now
and then; so that mode also runs one row at a time (``OpenVinoBackend``) and shares no prefix."""


class PipelineBuilder:
    """Knows how the pipeline is to be set up, and builds it as often as needed.

    Args:
        model: The checked file.
        request: What the engine was asked to load.
        options: The deployment's.
    """

    def __init__(
        self, model: OpenVinoModel, request: LoadRequest, options: OpenVinoOptions
    ) -> None:
        self._model = model
        self._request = request
        self._options = options
        precision = "f32" if options.reproducible else self._kv_precision()
        cache_bytes = options.cache_bytes or request.memory_bytes or _DEFAULT_CACHE_BYTES
        self.kv_blocks = model.kv_blocks(cache_bytes, precision)

    def tokenizer(self) -> Tokenizer:
        """Build the tokenizer; about half of the whole loading time.

        Raises:
            ModelLoadError: OpenVINO refused the file.
        """
        try:
            tokenizer = new_tokenizer(self._model.path)
            if self._request.chat_template is not None:
                tokenizer.set_chat_template(self._request.chat_template)
        except LIBRARY_ERRORS as error:
            raise self._refused(error) from error
        return tokenizer

    def pipeline(self, tokenizer: Tokenizer) -> Pipeline:
        """Build a pipeline.

        Raises:
            ModelLoadError: The device is not there, or OpenVINO refused the file.
        """
        self._check_device()
        try:
            return new_pipeline(
                self._model.path,
                tokenizer,
                self._scheduler(),
                self._request.device,
                self._properties(),
            )
        except LIBRARY_ERRORS as error:
            raise self._refused(error) from error

    def _scheduler(self) -> openvino_genai.SchedulerConfig:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = self.kv_blocks
        scheduler.max_num_batched_tokens = self._options.batched_tokens
        scheduler.enable_prefix_caching = not self._options.reproducible
        scheduler.dynamic_split_fuse = True
        return scheduler

    def _properties(self) -> dict[str, object]:
        properties: dict[str, object] = {}
        if self._options.reproducible:
            properties.update(_EXACT)
        elif (precision := self._kv_precision()) is not None:
            properties["KV_CACHE_PRECISION"] = precision
        if self._request.threads is not None and self._on_cpu():
            properties["INFERENCE_NUM_THREADS"] = self._request.threads
        return properties

    def _kv_precision(self) -> str | None:
        """bf16 on a CPU: as fast as the runtime's u8, and equal waves give equal samples."""
        if self._options.kv_cache_precision is not None:
            return self._options.kv_cache_precision
        return "bf16" if self._on_cpu() else None

    def _on_cpu(self) -> bool:
        return self._request.device in {"CPU", "AUTO"}

    def _check_device(self) -> None:
        device = self._request.device
        family = device.partition(":")[0].partition(".")[0]
        available = available_devices()
        there = {name.partition(".")[0] for name in available}
        if family not in there and family not in _VIRTUAL_DEVICES:
            raise ModelLoadError(
                f"device {device!r} is not there; OpenVINO finds {', '.join(available) or 'none'}",
                hint="set placement.devices of the deployment; AUTO lets OpenVINO choose",
            )

    def _refused(self, error: Exception) -> ModelLoadError:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return ModelLoadError(
            f"OpenVINO cannot load {self._model.path} on {self._request.device}: {lines[-1]}"
        )
