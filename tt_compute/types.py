"""What every part of tt_compute speaks, and all that a third-party backend needs to import.

Types are frozen. They grow by fields with a default, never by a new positional.
Unknown is None, never 0.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from tt_compute.errors import (
    AuthenticationError,
    BackendError,
    BackendUnavailable,
    ConnectionFailed,
    ContextLengthError,
    EngineDied,
    GenerationClosed,
    InvalidRequestError,
    ModelLoadError,
    ModelNotFound,
    OutOfMemory,
    RateLimitError,
    RequestRefused,
    ServerError,
    TTComputeError,
    UnsupportedError,
)
from tt_compute.profiles.schema import (
    Auth,
    DeploymentProfile,
    DeploymentSpec,
    HardwareProfile,
    ModelFile,
    ModelProfile,
    Placement,
)

__all__ = [
    "API_VERSION",
    "Auth",
    "AuthenticationError",
    "BackendEnv",
    "BackendError",
    "BackendUnavailable",
    "Capabilities",
    "Clock",
    "ConnectionFailed",
    "ContextLengthError",
    "Converter",
    "Delta",
    "DeploymentProfile",
    "DeploymentSpec",
    "EngineDied",
    "Event",
    "Failed",
    "Finding",
    "FinishReason",
    "GenerateRequest",
    "GenerationClosed",
    "HardwareProfile",
    "InvalidRequestError",
    "JsonSchemaFormat",
    "Message",
    "ModelFile",
    "ModelInfo",
    "ModelLoadError",
    "ModelNotFound",
    "ModelProfile",
    "ModelStore",
    "Offer",
    "OutOfMemory",
    "Part",
    "Placement",
    "Probe",
    "RateLimit",
    "RateLimitError",
    "Reliability",
    "RequestRefused",
    "Role",
    "Sample",
    "SamplingParams",
    "Secrets",
    "ServerError",
    "TTComputeError",
    "TextPart",
    "Timing",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "UnsupportedError",
    "Usage",
    "sample_seed",
]

API_VERSION = 1
"""Version of the backend protocol; a backend that states another one is refused with both numbers."""

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "deadline"]


# --- what is asked -------------------------------------------------------------------------------


class TextPart(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """A piece of text in a message of several parts."""

    text: str


Part = TextPart
"""The kinds of part a message may hold; a union that grows."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call the model asked for; ``arguments`` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a conversation."""

    role: Role
    content: str | tuple[Part, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The content as one string, parts joined without a separator."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True):
    """How samples are drawn. None leaves a value to the model's or the service's default."""

    temperature: float | None = None
    """0 is greedy; at most 5."""
    top_p: float | None = None
    """In (0, 1]."""
    top_k: int | None = None
    """At least 1; a soft wish, dropped and reported where a service has none."""
    max_tokens: int | None = None
    """Most completion tokens of one sample; None = what the context leaves, capped by the backend."""
    stop: tuple[str, ...] = ()
    """Strings that end a sample; they are not part of its text."""
    seed: int | None = None
    """Sample k uses the first 31 bits of SHA-256(f'{seed}:{k}'); None = not reproducible."""
    logprobs: int = 0
    """0 = none, 1 = of the sampled token, n > 1 = also of the n most likely ones."""
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class JsonSchemaFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The completion must be one JSON document that satisfies ``schema``."""

    schema: dict[str, object]
    name: str = "answer"


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function the model may call; ``parameters`` is a JSON schema."""

    name: str
    description: str = ""
    parameters: dict[str, object] = {}


Deltas = Literal["none", "text", "logprobs"]
"""What is told of a sample before it ends."""


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt to open at a backend; how many samples are drawn is decided later, by ``draw``."""

    messages: tuple[Message, ...]
    sampling: SamplingParams = SamplingParams()
    response_format: JsonSchemaFormat | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    continue_assistant: bool = False
    """Go on from an unfinished last assistant message instead of starting a new turn."""
    deltas: Deltas = "none"
    deadline: float | None = None
    """Absolute time on the environment's clock; at it every live sample ends with ``deadline``."""
    tags: dict[str, str] = {}


def sample_seed(seed: int, index: int) -> int:
    """Seed of sample ``index``: the first 31 bits of SHA-256(f'{seed}:{index}').

    Hashed, so that neighbouring seeds share no sample.
    """
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


# --- what comes back: made per token, so kept from the garbage collector (gc=False) ---


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Natural-log probability of a token under the model, before temperature and truncation."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens of one sample. Prompt tokens are booked on the sample that caused their prefill."""

    input_tokens: int = 0
    cached_tokens: int = 0
    """The part of ``input_tokens`` read from a prefix cache."""
    output_tokens: int = 0
    """Every completion token that was, or must be assumed, billed."""
    estimated: bool = False
    """Not counted by the service: an upper bound of what it may bill."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            estimated=self.estimated or other.estimated,
        )


class Timing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Seconds since ``draw`` asked for the sample; the last three as the service itself counts them."""

    first_token_s: float | None = None
    total_s: float = 0.0
    queue_s: float | None = None
    prefill_s: float | None = None
    decode_s: float | None = None


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a service says is left of one of its limits; None = it did not say."""

    axis: Literal["requests", "tokens"]
    window_s: float
    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None
    """Seconds until ``remaining`` is ``limit`` again."""


class Delta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The next piece of one sample: one or more tokens; empty text while a character is unfinished."""

    index: int
    text: str = ""
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    restart: bool = False
    """What came before of this sample is void: it is drawn again from its beginning."""


class Sample(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The whole of one sample, however it ended. A cancelled one keeps its partial text."""

    index: int
    text: str
    finish_reason: FinishReason
    usage: Usage = Usage()
    timing: Timing = Timing()
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    self_certainty: float | None = None
    """Mean over the sampled tokens of KL(uniform || model) in nats, before temperature and truncation: how far
    the model was from guessing (Kang et al. 2025, https://arxiv.org/abs/2502.18581). None unless
    logprobs were asked for and the runtime sees the whole distribution."""
    rate_limits: tuple[RateLimit, ...] = ()
    """What the service said of its limits with this answer."""
    request_id: str | None = None
    """The service's name for the request, for its support."""

    @property
    def mean_logprob(self) -> float | None:
        """Mean over the sampled tokens; None when the backend gave no logprobs."""
        if not self.logprobs:
            return None
        return sum(token.logprob for token in self.logprobs) / len(self.logprobs)


class Failed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One sample that could not be finished; the others go on."""

    index: int
    error: BackendError
    text: str = ""
    usage: Usage = Usage()


Event = Delta | Sample | Failed
"""Of one index: ``Delta``*, then exactly one ``Sample`` or ``Failed``."""


# --- what a backend says and is lent ---------------------------------------------------------------------------


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter, a profile and a probe each say can be done; the effective set is their AND."""

    generates: bool = True
    """It draws samples at all; a reward model or an embedding model does not."""
    native_n: bool = False
    """Several samples of one prompt in one request."""
    prefix_sharing: bool = False
    """Samples of one prompt share its prefill."""
    cancel: Literal["none", "request", "sample"] = "none"
    max_logprobs: int = 0
    seed: Literal["none", "schedule", "exact"] = "none"
    """exact: sample k is the same alone, in any wave, beside other traffic; schedule: only when the
    same rows are batched at the same time."""
    stop: bool = False
    json_schema: bool = False
    tools: bool = False
    reasoning: bool = False
    continue_assistant: bool = False
    streaming: bool = False
    continuous_batching: bool = False
    ignored_params: tuple[str, ...] = ()
    """Soft sampling parameters that are dropped, such as ``top_k``."""


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a deployment serves."""

    id: str
    max_context_tokens: int | None
    capabilities: Capabilities


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a backend could run here, found without importing its library."""

    available: bool
    reason: str = ""
    """Why not, in one sentence; empty when available."""
    install: str = ""
    """The line that would mend it; empty when none would."""
    version: str | None = None
    """Version of the library that was found."""


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    """How far a verifier can be trusted; the default accepts what is right and nothing else.

    Raises:
        InvalidRequestError: A rate is no probability, or right samples are accepted no more often than wrong.
    """

    true_positive_rate: float = 1.0
    """P(accepted | the sample is right)."""
    false_positive_rate: float = 0.0
    """P(accepted | the sample is wrong)."""

    def __post_init__(self) -> None:
        """Refuse a verifier that tells nothing, or the contrary."""
        if not 0 <= self.false_positive_rate < self.true_positive_rate <= 1:
            raise InvalidRequestError(
                "a verifier's rates must be 0 <= false_positive_rate < true_positive_rate <= 1, "
                f"got {self.false_positive_rate} and {self.true_positive_rate}"
            )


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a check found."""

    name: str
    ok: bool | None
    """None = not checked, or worth no alarm."""
    detail: str


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What a service says of one model in its list of models; None = it does not say."""

    url: str
    """Where it says so."""
    input_usd_per_mtok: float | None = None
    cached_input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    max_context_tokens: int | None = None
    max_output_tokens: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    deprecated: bool = False
    """The service means to withdraw it."""


class Clock(Protocol):
    """Where time comes from, so that tests can own it."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Secrets(Protocol):
    """Where keys come from; a key never appears in a repr, a log or an exception."""

    def get(self, auth: Auth) -> str | None:
        """The key that ``auth`` points at; None when it points nowhere."""
        ...


class Converter(msgspec.Struct, frozen=True, kw_only=True):
    """A program that makes weights of another format: ``python -m MODULE SOURCE TARGET ARGUMENT...``.

    It fills the existing, empty folder ``TARGET``, reads nothing but the file or folder ``SOURCE``, and exits
    with another code than 0 after saying why on standard error.
    """

    format: str
    """What it makes."""
    module: str
    version: int
    """Raised whenever the same source would give another result."""
    arguments: tuple[str, ...] = ()


class ModelStore(Protocol):
    """Where weights lie."""

    async def locate(self, spec: DeploymentSpec, format: str) -> Path:  # noqa: A002 - the YAML's word
        """Path of the checked model file, fetched first when no source has been used yet.

        Raises:
            ModelNotFound: No source could deliver it.
            ModelLoadError: A file is there and its digest is wrong.
        """
        ...

    async def convert(self, source: Path, converter: Converter) -> Path:
        """The folder that ``converter`` makes of ``source``; made once for the same content of both.

        Raises:
            ModelLoadError: The converter refused the source.
            ModelNotFound: The cache cannot be used.
        """
        ...


class BackendEnv(Protocol):
    """What the core lends to a backend."""

    @property
    def clock(self) -> Clock: ...
    @property
    def secrets(self) -> Secrets: ...
    @property
    def models(self) -> ModelStore: ...
