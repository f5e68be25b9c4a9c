"""OpenVINO GenAI behind the engine's seam: one request per row on one continuous batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tt_compute.types import GenerateRequest
from tt_compute_backends.detokenize import TokenTable
from tt_compute_backends.engine.runtime import Loaded, LoadRequest, Prompt, RowParams, RowStep
from tt_compute_backends.llama.steps import check_no_separator
from tt_compute_backends.openvino import OpenVinoOptions, capabilities
from tt_compute_backends.openvino_library import LIBRARY_ERRORS, Pipeline, tensor, versions
from tt_compute_backends.openvino_model import OpenVinoModel, read_model
from tt_compute_backends.openvino_pipeline import PipelineBuilder
from tt_compute_backends.openvino_prefix import PrefixLedger
from tt_compute_backends.openvino_prompts import openvino_prompts
from tt_compute_backends.openvino_rows import Row, row_config

__all__ = ["OpenVinoRuntime"]


class OpenVinoRuntime:
    """Satisfies ``engine.runtime.Runtime``.

    Args:
        now: Monotonic seconds, for the loading time.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._model: _LoadedModel | None = None

    def load(self, request: LoadRequest) -> Loaded:
        started = self._now()
        self._model = _LoadedModel(request)
        return Loaded(
            max_context_tokens=self._model.context_tokens,
            capabilities=self._model.capabilities,
            load_s=self._now() - started,
            versions=versions(),
        )

    def prepare(self, request: GenerateRequest) -> Prompt:
        return self._loaded().prompts.read(request)

    def has_room(self, prompt: Prompt) -> bool:  # noqa: ARG002 - Runtime's shape
        """Always: OpenVINO itself makes rows wait, and gives up one that can never fit."""
        return True

    def add(self, row: int, prompt: Prompt, params: RowParams) -> None:
        self._loaded().add(row, prompt.token_ids, params)

    def cancel(self, row: int) -> None:
        self._loaded().cancel(row)

    def step(self) -> list[RowStep]:
        return self._loaded().step()

    def reset(self) -> None:
        self._loaded().reset()

    def close(self) -> None:
        if self._model is not None:
            self._model.drop()
            self._model = None

    def _loaded(self) -> _LoadedModel:
        assert self._model is not None, "load() comes first, and nothing after close()"
        return self._model


class _LoadedModel:
    """The model with its rows."""

    def __init__(self, request: LoadRequest) -> None:
        options = msgspec.convert(request.options, OpenVinoOptions)
        check_no_separator(options.step_separator)
        model = read_model(Path(request.model_path))
        self._builder = PipelineBuilder(model, request, options)
        self._tokenizer = self._builder.tokenizer()
        self._pipeline: Pipeline | None = self._builder.pipeline(self._tokenizer)
        self._table = TokenTable.of_vocabulary(self._tokenizer.get_vocab(), model.control_tokens)
        self._prefixes = PrefixLedger(model.block_tokens, self._builder.kv_blocks)
        self._rows: dict[int, Row] = {}
        self._shares_prefixes = not options.reproducible
        self.capabilities = capabilities(options)
        self.context_tokens = _context_tokens(model, request, self._builder.kv_blocks)
        self.prompts = openvino_prompts(
            self._tokenizer,
            model,
            context_tokens=self.context_tokens,
            longest_token_bytes=self._table.longest_bytes,
            capabilities=self.capabilities,
        )

    def add(self, row: int, prompt: tuple[int, ...], params: RowParams) -> None:
        handle = self._running().add_request(row, tensor(prompt), row_config(params))
        self._rows[row] = Row(
            row,
            handle,
            prompt=prompt,
            cached_tokens=self._prefixes.cached_tokens(prompt) if self._shares_prefixes else 0,
            table=self._table,
            params=params,
        )

    def cancel(self, row: int) -> None:
        found = self._rows.pop(row, None)
        if found is not None:
            found.cancel()
            self._ended(found)

    def step(self) -> list[RowStep]:
        self._running().step()
        steps = [self._collect(row) for row in list(self._rows.values())]
        return [step for step in steps if step is not None]

    def _collect(self, row: Row) -> RowStep | None:
        waited = row.tokens == 0
        step = row.collect()
        if step is None:
            return None
        if waited and row.tokens:
            self._prefixes.prefilled(row.prompt, row.cached_tokens)
        if step.finish is not None:
            del self._rows[step.row]
            self._ended(row)
        return step

    def _ended(self, row: Row) -> None:
        if row.tokens:
            self._prefixes.used(row.prompt, row.tokens)

    def reset(self) -> None:
        self.drop()
        self._pipeline = self._builder.pipeline(self._tokenizer)

    def drop(self) -> None:
        """Free the pipeline and all rows; a pipeline freed with live rows would complain on stderr."""
        for row in self._rows.values():
            row.cancel()
        self._rows.clear()
        self._prefixes.clear()
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None and pipeline.has_non_finished_requests():
            try:
                pipeline.step()
            except LIBRARY_ERRORS:
                # It is broken, which is why it is dropped.
                return

    def _running(self) -> Pipeline:
        assert self._pipeline is not None, "the model was dropped"
        return self._pipeline


def _context_tokens(model: OpenVinoModel, request: LoadRequest, kv_blocks: int) -> int:
    """The least of what the model was trained on, the profile allows and the cache can hold."""
    limits = [model.context_tokens, kv_blocks * model.block_tokens]
    if request.max_context_tokens is not None:
        limits.append(request.max_context_tokens)
    return min(limits)
