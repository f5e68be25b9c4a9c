"""llama.cpp as a contestant: its own batch of N sequences over one shared prefill."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

__all__ = ["LlamaCpp"]


def _ignore(_level: int, _text: bytes, _user_data: object) -> None:
    """Of its log."""


class LlamaCpp:
    """A context of llama.cpp, driven by its C interface: what its Python wrapper offers draws one at a time.

    Args:
        path: A GGUF file.
        threads: For prefill and decode.
        temperature, top_p, seed: Of each sequence's own chain of samplers.
    """

    def __init__(
        self, path: Path, threads: int, *, temperature: float, top_p: float, seed: int
    ) -> None:
        self._c: Any = importlib.import_module("llama_cpp")
        self._sampling = (temperature, top_p, seed)
        self._c.llama_backend_init()
        self._silence = self._c.llama_log_callback(_ignore)
        self._c.llama_log_set(self._silence, None)
        self._model = self._c.llama_model_load_from_file(
            str(path).encode(), self._c.llama_model_default_params()
        )
        params = self._c.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = 32 * 1200, 2048, 512
        params.n_seq_max, params.kv_unified = 33, False
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = 1
        self._context = self._c.llama_init_from_model(self._model, params)
        self._memory = self._c.llama_get_memory(self._context)
        self._vocabulary = self._c.llama_model_get_vocab(self._model)
        self._batch = self._c.llama_batch_init(2048, 0, 1)

    def encode(self, text: str) -> list[int]:
        data, room = text.encode(), len(text) + 8
        tokens = (self._c.llama_token * room)()
        made = self._c.llama_tokenize(self._vocabulary, data, len(data), tokens, room, False, True)
        return list(tokens[:made])

    def run(self, ids: list[int], n: int, new_tokens: int) -> tuple[int, float]:
        """Tokens made, and seconds to the first."""
        started = time.perf_counter()
        self._c.llama_memory_clear(self._memory, True)
        self._decode([(token, at, 0) for at, token in enumerate(ids)])
        chains = [self._chain(k) for k in range(n)]
        last = {
            k: self._c.llama_sampler_sample(chain, self._context, -1)
            for k, chain in enumerate(chains)
        }
        first_s, made, place = time.perf_counter() - started, n, len(ids)
        for k in range(1, n):
            self._c.llama_memory_seq_cp(self._memory, 0, k, -1, -1)
        live = [k for k in last if not self._ends(last[k])]
        while live and place < len(ids) + new_tokens - 1:
            self._decode([(last[k], place, k) for k in live])
            for row, k in enumerate(live):
                last[k] = self._c.llama_sampler_sample(chains[k], self._context, row)
            made += len(live)
            place += 1
            live = [k for k in live if not self._ends(last[k])]
        for chain in chains:
            self._c.llama_sampler_free(chain)
        return made, first_s

    def _ends(self, token: int) -> bool:
        return bool(self._c.llama_vocab_is_eog(self._vocabulary, token))

    def _chain(self, k: int) -> Any:
        temperature, top_p, seed = self._sampling
        chain = self._c.llama_sampler_chain_init(self._c.llama_sampler_chain_default_params())
        self._c.llama_sampler_chain_add(chain, self._c.llama_sampler_init_top_p(top_p, 1))
        self._c.llama_sampler_chain_add(chain, self._c.llama_sampler_init_temp(temperature))
        self._c.llama_sampler_chain_add(chain, self._c.llama_sampler_init_dist(seed + k))
        return chain

    def _decode(self, entries: list[tuple[int, int, int]]) -> None:
        batch, prompt = self._batch, len({sequence for _, _, sequence in entries}) < len(entries)
        batch.n_tokens = len(entries)
        for row, (token, place, sequence) in enumerate(entries):
            batch.token[row], batch.pos[row] = token, place
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, sequence
            batch.logits[row] = row == len(entries) - 1 if prompt else True
        if self._c.llama_decode(self._context, batch):
            raise SystemExit("llama.cpp could not decode")
