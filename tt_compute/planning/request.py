"""What the planner is asked: one request, seen from its outside."""

from __future__ import annotations

import msgspec

from tt_compute.planning.types import Prediction
from tt_compute.profiles.schema import TaskKind
from tt_compute.types import Capabilities, Reliability, SamplingParams

__all__ = ["PlanRequest"]


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, without its text.

    ``logprobs`` and what follows it are abilities without which the request makes no sense: a deployment
    that is not known to have them is rejected.
    """

    task: TaskKind
    input_tokens: int
    """Prompt tokens, counted or estimated."""
    sampling: SamplingParams = SamplingParams()
    """The caller's wishes; None in it leaves a value to the plan."""
    deployment: str | None = None
    """Only this deployment."""
    strategy: str | None = None
    """Only this strategy, which may be one that nothing is known of."""
    stop_rule: str | None = None
    """Only votes, under this rule."""
    one_deployment: bool = False
    """No cascade, unless it is pinned."""
    weight: str | None = None
    """Only votes that weigh by this."""
    ahead: float | None = None
    """Only votes that draw ahead of need from this chance on, 0 to 1, where 1 is none at all and leaves other
    strategies open; None leaves it to the plan."""
    predicted: Prediction | None = None
    """What the pinned strategy is expected to do, where whoever asks knows it; None = the planner predicts it."""
    draws_all: bool = False
    """The pinned strategy draws the whole budget, and nothing besides: what it takes is predicted."""
    unforeseen: str = ""
    """Why nothing predicts what the pinned strategy takes, in words."""
    priced_elsewhere: bool = False
    """The strategy also draws at deployments of its own choice, which are not free: unless it is predicted, the
    cost is unknown."""
    has_verifier: bool = False
    """Whether samples can be judged."""
    reliability: Reliability | None = Reliability()
    """Of the verifier; None = unknown."""
    logprobs: int = 0
    """Per token."""
    exact_seed: bool = False
    json_schema: bool = False
    tools: bool = False
    continue_assistant: bool = False

    def missing(self, capabilities: Capabilities | None) -> tuple[str, ...]:
        """What ``capabilities`` lack, in words; on unknown ones nothing can rely."""
        have = Capabilities() if capabilities is None else capabilities
        lacking = (
            (
                not have.generates,
                "generated text (its model reads: ask it by scorer=, steps= or semantic=)",
            ),
            (self.logprobs > have.max_logprobs, f"logprobs={self.logprobs}"),
            (self.exact_seed and have.seed != "exact", "an exact seed"),
            (self.json_schema and not have.json_schema, "JSON schemas"),
            (self.tools and not have.tools, "tools"),
            (
                self.continue_assistant and not have.continue_assistant,
                "going on from an unfinished assistant message",
            ),
        )
        return tuple(name for lacks, name in lacking if lacks)
