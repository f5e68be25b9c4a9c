"""Builds OpenVINO GenAI's continuous-batching pipeline for one model file."""

from __future__ import annotations

from tt_compute_backends.engine.runtime import LoadRequest
from tt_compute_backends.openvino import OpenVinoOptions
from tt_compute_backends.openvino_device import check_device, compute_properties, on_cpu, refused
from tt_compute_backends.openvino_library import (
    LIBRARY_ERRORS,
    Pipeline,
    Tokenizer,
    new_pipeline,
    new_tokenizer,
    openvino_genai,
)
from tt_compute_backends.openvino_model import OpenVinoModel

__all__ = ["PipelineBuilder"]

_DEFAULT_CACHE_BYTES = 1 << 30


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
            raise refused(self._model.path, self._request.device, error) from error
        return tokenizer

    def pipeline(self, tokenizer: Tokenizer) -> Pipeline:
        """Build a pipeline.

        Raises:
            ModelLoadError: The device is not there, or OpenVINO refused the file.
        """
        check_device(self._request.device)
        try:
            return new_pipeline(
                self._model.path,
                tokenizer,
                self._scheduler(),
                self._request.device,
                self._properties(),
            )
        except LIBRARY_ERRORS as error:
            raise refused(self._model.path, self._request.device, error) from error

    def _scheduler(self) -> openvino_genai.SchedulerConfig:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = self.kv_blocks
        scheduler.max_num_batched_tokens = self._options.batched_tokens
        scheduler.enable_prefix_caching = not self._options.reproducible
        scheduler.dynamic_split_fuse = True
        return scheduler

    def _properties(self) -> dict[str, object]:
        properties = compute_properties(self._request, self._options)
        if self._options.reproducible:
            properties["KV_CACHE_PRECISION"] = "f32"
        elif (precision := self._kv_precision()) is not None:
            properties["KV_CACHE_PRECISION"] = precision
        return properties

    def _kv_precision(self) -> str | None:
        """bf16 on a CPU: as fast as the runtime's u8, and equal waves give equal samples."""
        if self._options.kv_cache_precision is not None:
            return self._options.kv_cache_precision
        return "bf16" if on_cpu(self._request.device) else None
