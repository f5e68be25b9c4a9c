"""What a value must satisfy beyond its type: ranges, units, shapes of text.

The bounds are JSON Schema's keywords, so that the loader and the published schemas refuse the same.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple, get_args

from tt_compute.profiles.document import Tree, looks_like_a_key, show
from tt_compute.profiles.schema import (
    Ability,
    Auth,
    DeploymentProfile,
    Efficiency,
    Endpoint,
    Fact,
    HardwareProfile,
    Interconnect,
    LimitFacts,
    Limits,
    Memory,
    ModelFile,
    ModelProfile,
    ModelSource,
    Parameters,
    Placement,
    Power,
    Price,
    PricePerMtok,
    Speed,
    TaskKind,
    Ttft,
)

__all__ = ["CROSS_RULES", "KEY_RULES", "RULES", "CrossRule", "Rule"]

CrossRule = Callable[[Mapping[str, Tree]], Iterator[tuple[str, str]]]
"""Of a whole struct in normal form (facts as mappings): pairs of a path inside it and what is wrong."""

DTYPES = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp4", "int8", "int4")
_ENV_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_LEAST_BYTES = 1e6
_LEAST_BANDWIDTH = 1e6
_LEAST_FLOPS = 1e9
_LEAST_PARAMETERS = 1e4
_MOST_BYTES_PER_PARAMETER = 16
_MOST_TTFT_S = 3600
_LEAST_USD_PER_MTOK = 1e-3


class Rule(NamedTuple):
    """Of a value of the right type."""

    problem: Callable[[Any], str | None]
    """What is wrong with it, or None."""
    schema: Mapping[str, Any]
    """As much of the rule as JSON Schema can say, for editors."""


def _number(wanted: str, **bounds: float) -> Rule:
    """A rule from JSON Schema's own keywords, so that both sides refuse the same numbers."""

    def problem(value: float) -> str | None:
        met = all(_BOUNDS[name](value, bound) for name, bound in bounds.items())
        return None if met else f"expected {wanted}, got {show(value)}"

    return Rule(problem, bounds)


_BOUNDS: Mapping[str, Callable[[float, float], bool]] = {
    "minimum": operator.ge,
    "exclusiveMinimum": operator.gt,
    "maximum": operator.le,
    "multipleOf": lambda value, unit: float(value / unit).is_integer(),
}


def _or_zero(rule: Rule) -> Rule:
    def problem(value: float) -> str | None:
        return None if value == 0 else rule.problem(value)

    return Rule(problem, {"anyOf": [{"const": 0}, rule.schema]})


def _matching(pattern: str, wanted: str) -> Rule:
    whole = re.compile(pattern)

    def problem(value: str) -> str | None:
        return None if whole.fullmatch(value) else f"expected {wanted}, got {show(value)}"

    return Rule(problem, {"pattern": f"^(?:{pattern})$"})


def _one_of(known: tuple[str, ...]) -> Rule:
    def problem(value: str) -> str | None:
        return None if value in known else f"expected one of {', '.join(known)}, got {show(value)}"

    return Rule(problem, {"enum": list(known)})


def _iso_date(value: str) -> str | None:
    try:
        parsed = date.fromisoformat(value)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != value:
        return f"expected a date such as 2026-11-21, got {show(value)}"
    return None


def _key_variable(value: str) -> str | None:
    if looks_like_a_key(value) or not re.fullmatch(_ENV_NAME, value):
        return "expected the name of an environment variable, got something else (not shown)"
    return None


def _key_file(value: str) -> str | None:
    if looks_like_a_key(value):
        return "expected the path of a file, got what looks like a key (not shown)"
    return None


def _base_url(value: str) -> str | None:
    scheme, separator, rest = value.partition("://")
    if scheme not in ("http", "https") or not separator or not rest:
        return f"expected a URL that begins with http:// or https://, got {show(value)}"
    if "@" in rest.partition("/")[0]:
        return "expected a URL without user and password (not shown); use `auth:`"
    return None


def _wave_width(value: str) -> str | None:
    if value.isascii() and value.isdecimal() and int(value) >= 1:
        return None
    return f"expected a wave width such as '16', got {show(value)}"


_POSITIVE = _number("a number above 0", exclusiveMinimum=0)
_NOT_NEGATIVE = _number("a number of at least 0", minimum=0)
_COUNT = _number("an integer of at least 1", minimum=1)
_WHOLE = _number("an integer of at least 1", minimum=1, multipleOf=1)
_FRACTION = _number("a number from 0 to 1", minimum=0, maximum=1)
_SHARE = _number("a number above 0 and at most 1", exclusiveMinimum=0, maximum=1)
_BYTES = _number(f"bytes (16 GB is 1.6e10), at least {_LEAST_BYTES:g}", minimum=_LEAST_BYTES)
_BANDWIDTH = _number(
    f"bytes per second (51.2 GB/s is 5.12e10), at least {_LEAST_BANDWIDTH:g}",
    minimum=_LEAST_BANDWIDTH,
)
_FLOPS = _number(
    f"FLOP/s (989 TFLOP/s is 9.89e14), at least {_LEAST_FLOPS:g}", minimum=_LEAST_FLOPS
)
_PARAMETERS = _number(
    f"a count (135 million is 1.35e8), at least {_LEAST_PARAMETERS:g}", minimum=_LEAST_PARAMETERS
)
_USD_PER_MTOK = _or_zero(
    _number(
        f"USD per million tokens (1.5e-7 per token is 0.15), 0 or at least {_LEAST_USD_PER_MTOK:g}",
        minimum=_LEAST_USD_PER_MTOK,
    )
)
_BYTES_PER_PARAMETER = _number(
    f"bytes above 0 and at most {_MOST_BYTES_PER_PARAMETER}",
    exclusiveMinimum=0,
    maximum=_MOST_BYTES_PER_PARAMETER,
)
_TTFT = _number(
    f"seconds (300 ms is 0.3), from 0 to {_MOST_TTFT_S}", minimum=0, maximum=_MOST_TTFT_S
)
_NAME = _matching(
    r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,127}", "letters, digits and . _ : @ / + - (at most 128)"
)
_FILE = _matching(r"[^/\\\0]+", "the name of a file, without a folder")
_DIGEST = _matching("[0-9a-f]{64}", "64 lower-case hexadecimal digits")
_PINNED = _matching(
    r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!-]*",
    "a package with its version, such as name==1.2.3",
)
_DATE = Rule(_iso_date, {"pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "format": "date"})
_KEY_VARIABLE = Rule(_key_variable, {"pattern": f"^{_ENV_NAME}$"})
_KEY_FILE = Rule(_key_file, {})
_BASE_URL = Rule(_base_url, {"pattern": "^https?://[^@/]+(?:/.*)?$"})
_WAVE_WIDTH = Rule(_wave_width, {"pattern": "^0*[1-9][0-9]*$"})


RULES: Mapping[tuple[type, str], Rule] = {
    (Fact, "as_of"): _DATE,
    (Ttft, "as_of"): _DATE,
    (Ttft, "p50"): _TTFT,
    (Ttft, "p95"): _TTFT,
    (HardwareProfile, "id"): _NAME,
    (HardwareProfile, "peak_flops"): _FLOPS,
    (HardwareProfile, "usd_per_hour"): _NOT_NEGATIVE,
    (Memory, "bytes"): _BYTES,
    (Memory, "bandwidth_bytes_per_s"): _BANDWIDTH,
    (Power, "idle_w"): _NOT_NEGATIVE,
    (Power, "peak_w"): _NOT_NEGATIVE,
    (Efficiency, "mbu"): _SHARE,
    (Efficiency, "mfu_prefill"): _SHARE,
    (Efficiency, "mfu_decode"): _SHARE,
    (Efficiency, "step_overhead_s"): _NOT_NEGATIVE,
    (Efficiency, "layer_overhead_s"): _NOT_NEGATIVE,
    (Interconnect, "latency_s"): _NOT_NEGATIVE,
    (Interconnect, "bandwidth_bytes_per_s"): _BANDWIDTH,
    (ModelProfile, "id"): _NAME,
    (ModelProfile, "layers"): _COUNT,
    (ModelProfile, "hidden_size"): _COUNT,
    (ModelProfile, "attention_heads"): _COUNT,
    (ModelProfile, "kv_heads"): _COUNT,
    (ModelProfile, "head_dim"): _COUNT,
    (ModelProfile, "max_context_tokens"): _COUNT,
    (Parameters, "total"): _PARAMETERS,
    (Parameters, "active"): _PARAMETERS,
    (ModelFile, "file"): _FILE,
    (ModelFile, "bytes"): _COUNT,
    (ModelFile, "sha256"): _DIGEST,
    (ModelFile, "bytes_per_parameter"): _BYTES_PER_PARAMETER,
    (ModelSource, "pypi"): _PINNED,
    (Ability, "success_rate"): _FRACTION,
    (Ability, "greedy_success_rate"): _FRACTION,
    (Ability, "concentration"): _POSITIVE,
    (Ability, "wrong_agreement"): _FRACTION,
    (Ability, "abstain_rate"): _FRACTION,
    (Ability, "completion_tokens_mean"): _POSITIVE,
    (Ability, "completion_tokens_p95"): _POSITIVE,
    (DeploymentProfile, "id"): _NAME,
    (Speed, "ttft_prompt_tokens"): _WHOLE,
    (Speed, "prefill_tokens_per_s"): _POSITIVE,
    (Speed, "decode_tokens_per_s"): _POSITIVE,
    (Speed, "decode_tokens_per_s_by_wave"): _POSITIVE,
    (Speed, "load_s"): _NOT_NEGATIVE,
    (PricePerMtok, "input"): _USD_PER_MTOK,
    (PricePerMtok, "cached_input"): _USD_PER_MTOK,
    (PricePerMtok, "output"): _USD_PER_MTOK,
    (Price, "usd_per_hour"): _NOT_NEGATIVE,
    (Limits, "max_context_tokens"): _COUNT,
    (Limits, "max_output_tokens"): _COUNT,
    (Limits, "requests_per_minute"): _POSITIVE,
    (Limits, "tokens_per_minute"): _POSITIVE,
    (Limits, "max_concurrency"): _COUNT,
    (Limits, "first_token_timeout_s"): _POSITIVE,
    (Limits, "stall_timeout_s"): _POSITIVE,
    (LimitFacts, "max_context_tokens"): _WHOLE,
    (LimitFacts, "max_output_tokens"): _WHOLE,
    (LimitFacts, "requests_per_minute"): _POSITIVE,
    (LimitFacts, "tokens_per_minute"): _POSITIVE,
    (Auth, "env"): _KEY_VARIABLE,
    (Auth, "file"): _KEY_FILE,
    (Endpoint, "base_url"): _BASE_URL,
    (Placement, "tensor_parallel"): _COUNT,
    (Placement, "threads"): _COUNT,
    (Placement, "max_sequences"): _COUNT,
    (Placement, "memory_bytes"): _BYTES,
    (Placement, "unload_after_s"): _POSITIVE,
}
"""By struct and field; of a fact its number is meant, of a mapping or list each of its values."""

KEY_RULES: Mapping[tuple[type, str], Rule] = {
    (HardwareProfile, "peak_flops"): _one_of(DTYPES),
    (ModelProfile, "abilities"): _one_of(get_args(TaskKind)),
    (Speed, "decode_tokens_per_s_by_wave"): _WAVE_WIDTH,
}
"""Of the keys of mappings whose keys the schema leaves open."""


def _figure(node: Mapping[str, Tree], name: str) -> float | None:
    """The number of a fact, or a bare one."""
    value = node.get(name)
    if isinstance(value, dict):
        value = value.get("value")
    return value if isinstance(value, (int, float)) else None


def _ordered(low: str, high: str) -> CrossRule:
    def rule(node: Mapping[str, Tree]) -> Iterator[tuple[str, str]]:
        first, second = _figure(node, low), _figure(node, high)
        if first is not None and second is not None and second < first:
            yield high, f"expected at least {low}, which is {show(first)}; got {show(second)}"

    return rule


def _prices(node: Mapping[str, Tree]) -> Iterator[tuple[str, str]]:
    if node.get("usd_per_mtok") is not None and _figure(node, "usd_per_hour") is not None:
        yield "usd_per_hour", "expected usd_per_mtok or usd_per_hour, got both"


def _one_place_of_the_key(node: Mapping[str, Tree]) -> Iterator[tuple[str, str]]:
    if node.get("env") is not None and node.get("file") is not None:
        yield "file", "expected env or file, got both"


def _whole_source(node: Mapping[str, Tree]) -> Iterator[tuple[str, str]]:
    given = {name for name, value in node.items() if value is not None}
    if given not in ({"pypi", "member"}, {"hub", "file"}, {"hub", "file", "revision"}):
        yield "", "expected pypi and member, or hub, file and maybe revision"


def _shared_heads(node: Mapping[str, Tree]) -> Iterator[tuple[str, str]]:
    queries, keys = _figure(node, "attention_heads"), _figure(node, "kv_heads")
    if queries is not None and keys is not None and queries % keys:
        yield "kv_heads", f"expected a divisor of attention_heads ({queries}), got {keys}"


CROSS_RULES: Mapping[type, CrossRule] = {
    Ttft: _ordered("p50", "p95"),
    Power: _ordered("idle_w", "peak_w"),
    Parameters: _ordered("active", "total"),
    Ability: _ordered("completion_tokens_mean", "completion_tokens_p95"),
    Price: _prices,
    Auth: _one_place_of_the_key,
    ModelSource: _whole_source,
    ModelProfile: _shared_heads,
}
"""By struct; asked only when every field of it is right by itself."""
