"""One mock deployment of a scenario: what it does, and the profile that tells the planner so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast, get_args

import msgspec

from tt_compute.profiles.schema import TaskKind
from tt_compute.testing.mock_options import MockOptions
from tt_compute.testing.mock_quantities import Quantity, median, percentile_95
from tt_compute.testing.mock_quantities import mean as mean_of
from tt_compute.testing.mock_questions import QuestionSet

__all__ = ["MockDeployment", "UsdPerMtok"]

_NO_TTFT = {"p50": 0.001, "p95": 0.005}
_NO_RATE = 10_000.0
"""What the profile of a mock that takes no time says, as the shipped one does: a plan needs some figure."""
_SHORT_ANSWER_TOKENS = 5.0
_LOCAL_HARDWARE = "mock"
_FIXED = {"backend", "endpoint", "id", "kind", "options"}
"""What makes a mock of a deployment."""
_REMOTE_HARDWARE: Mapping[str, object] = {
    "id": "mock-remote",
    "name": "No hardware, elsewhere",
    "device": "mock",
    "local": False,
}


class UsdPerMtok(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """USD per million tokens."""

    input: float = 0.0
    cached_input: float | None = None
    """None = billed like ``input``."""
    output: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"expected {name} >= 0, got {value}")


class MockDeployment(
    MockOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A mock's options, and what else a deployment has.

    The profile that is made of it is true: its speed is that of ``latency``, its abilities are those of
    ``ability``. What the service enforces (``limits``) the profile leaves out, so that a client meets it.
    """

    id: str
    model: str | None = None
    """Id of the model, which what is learned goes by; None = that of the deployment."""
    locality: Literal["local", "remote"] = "remote"
    """Whether it counts as this machine (nothing is limited, retried or hedged there) or as a service."""
    max_context_tokens: int = 131_072
    usd_per_mtok: UsdPerMtok | None = UsdPerMtok()
    """None = unknown; by default nothing is billed."""
    profile: dict[str, object] = msgspec.field(default_factory=dict[str, object])
    """Keys of the deployment's profile to state otherwise: a figure that is wrong, limits that are known,
    time-outs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fixed = sorted(_FIXED & self.profile.keys())
        if fixed:
            raise ValueError(f"profile: {', '.join(fixed)} cannot be stated there")

    def mapping(self, seed: int, questions: QuestionSet | None) -> dict[str, object]:
        """The deployment as ``ttc.yaml`` states one.

        Args:
            seed: Of the scenario.
            questions: Of the scenario, for a mock that states none and has an ability.
        """
        asked = self.asked(questions)
        mine: dict[str, object] = {
            "id": self.id,
            "backend": "mock",
            "model": self._model(asked),
            "hardware": _LOCAL_HARDWARE if self.locality == "local" else dict(_REMOTE_HARDWARE),
            "speed": self._speed(),
            "price": self._price(),
            "options": self._options(seed, asked),
        }
        return _merged(mine, self.profile)

    def asked(self, questions: QuestionSet | None) -> QuestionSet | None:
        """The questions it knows: its own, else the scenario's, which takes an ability."""
        if self.questions is not None:
            return self.questions
        return None if self.ability is None else questions

    def dice_of(self, seed: int) -> str:
        """What its draws depend on besides prompt, seed and index."""
        return self.dice or f"{seed}:{self.id}"

    def _options(self, seed: int, questions: QuestionSet | None) -> dict[str, object]:
        stated = {name: getattr(self, name) for name in MockOptions.__struct_fields__}
        stated |= {"questions": questions, "dice": self.dice_of(seed)}
        # By way of JSON, whose lists are what YAML has, too.
        encoded = msgspec.json.encode(MockOptions(**stated))
        return msgspec.json.decode(encoded, type=dict[str, object])

    def _model(self, questions: QuestionSet | None) -> dict[str, object]:
        model: dict[str, object] = {
            "id": self.model or self.id,
            "max_context_tokens": self.max_context_tokens,
        }
        if questions is not None and self.ability is not None:
            model["abilities"] = {task: self._ability() for task in get_args(TaskKind)}
        return model

    def _ability(self) -> dict[str, object]:
        assert self.ability is not None
        mean, concentration = self.ability.moments()
        stated = self.completion_tokens
        tokens = _SHORT_ANSWER_TOKENS if stated is None else stated
        return {
            "success_rate": mean,
            "concentration": concentration,
            "wrong_agreement": self.ability.wrong_agreement,
            "abstain_rate": self.ability.abstain_rate,
            "completion_tokens_mean": mean_of(tokens),
            "completion_tokens_p95": percentile_95(tokens),
        }

    def _speed(self) -> dict[str, object]:
        rate = self.latency.tokens_per_s
        speed: dict[str, object] = {
            "ttft_s": _quantiles(self.latency.ttft_s),
            "decode_tokens_per_s": _NO_RATE if rate is None else median(rate),
        }
        if self.latency.load_s:
            speed["load_s"] = self.latency.load_s
        return speed

    def _price(self) -> dict[str, object]:
        if self.usd_per_mtok is None:
            return {}
        return {"usd_per_mtok": msgspec.structs.asdict(self.usd_per_mtok)}


def _quantiles(quantity: Quantity) -> dict[str, float]:
    p50, p95 = median(quantity), percentile_95(quantity)
    return {"p50": p50, "p95": p95} if p95 > 0 else dict(_NO_TTFT)


def _merged(base: dict[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """``base`` with the values of ``over`` in their place, mapping by mapping."""
    merged = dict(base)
    for key, value in over.items():
        inside = merged.get(key)
        if isinstance(inside, dict) and isinstance(value, Mapping):
            merged[key] = _merged(
                cast("dict[str, object]", inside), cast("Mapping[str, object]", value)
            )
        else:
            merged[key] = value
    return merged
