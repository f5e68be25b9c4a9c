"""A scenario: several mock deployments and what befalls them, to test planning and dispatch against."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import msgspec

from tt_compute.config import Config
from tt_compute.errors import ConfigError, UnknownNameError
from tt_compute.profiles.checking import check, suggestion
from tt_compute.profiles.document import Document, child, document_of, join
from tt_compute.profiles.yaml import load_yaml, parse_yaml
from tt_compute.testing.mock_questions import Question, QuestionSet, success_rates
from tt_compute.testing.scenario_deployment import MockDeployment

__all__ = ["Scenario"]

T = TypeVar("T")


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mock deployments with their answers, speed, prices, limits and faults.

    A sample depends on (scenario's seed, deployment, prompt, sample's seed, index) alone; what limits and faults
    by number or time do depends on when it is drawn as well.
    """

    deployments: tuple[MockDeployment, ...]
    """In the order in which they are listed."""
    version: Literal[1] = 1
    seed: int = 0
    questions: QuestionSet | None = None
    """What every deployment with an ``ability`` is asked."""
    objective: dict[str, object] = {}
    """As in ``ttc.yaml``."""
    dispatch: dict[str, object] = {}
    """As in ``ttc.yaml``; limits are not shared with other processes."""

    def __post_init__(self) -> None:
        """Refuse what no configuration could be."""
        if not self.deployments:
            raise ValueError("expected at least one deployment")
        ids = [deployment.id for deployment in self.deployments]
        for one in ids:
            if ids.count(one) > 1:
                raise ValueError(f"deployment {one!r} is listed twice")
        for deployment in self.deployments:
            if (deployment.ability is None) != (deployment.asked(self.questions) is None):
                raise ValueError(
                    f"deployment {deployment.id!r}: `questions` and `ability` go together"
                )

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a scenario from a file.

        Raises:
            ConfigError: It cannot be used; the first fault, with file and line.
        """
        return _made(cls, load_yaml(Path(path)))

    @classmethod
    def parse(cls, text: str, *, file: str | None = None) -> Self:
        """Read a scenario from YAML.

        Args:
            text: The YAML.
            file: Name for errors.

        Raises:
            ConfigError: It cannot be used; the first fault, with its line.
        """
        return _made(cls, parse_yaml(text, file=file))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object]) -> Self:
        """The scenario that a mapping states, as YAML would.

        Raises:
            ConfigError: It cannot be used; the first fault.
        """
        return _made(cls, document_of(mapping))

    def config(self) -> dict[str, object]:
        """What ``Config.from_mapping`` and ``ttc.yaml`` take: the deployments, and nothing kept of the runs."""
        mapping: dict[str, object] = {
            "version": 1,
            "deployments": [one.mapping(self.seed, self.questions) for one in self.deployments],
            "store": {"enabled": False},
            "dispatch": {"share_limits": False, **self.dispatch},
        }
        if self.objective:
            mapping["objective"] = dict(self.objective)
        return mapping

    def ready(self, *, environ: Mapping[str, str] | None = None) -> Config:
        """The configuration for ``tt.Client(scenario.ready(), clock=...)``.

        Args:
            environ: As for ``Config.from_mapping``.

        Raises:
            ConfigError: A ``profile``, the ``objective`` or ``dispatch`` cannot be used.
        """
        return Config.from_mapping(self.config(), environ=environ)

    def asked(self) -> tuple[Question, ...]:
        """The questions of the set with their right answers; none without a set."""
        return () if self.questions is None else self.questions.questions()

    def success_rate(self, deployment: str, number: int) -> float:
        """The true P(a sample of the deployment answers question ``number`` right).

        Raises:
            UnknownNameError: There is no such deployment, or it has no ability.
            IndexError: There is no such question.
        """
        able = {one.id: one for one in self.deployments if one.ability is not None}
        one = able.get(deployment)
        asked = None if one is None else one.asked(self.questions)
        if one is None or one.ability is None or asked is None:
            raise UnknownNameError(
                f"there is no deployment {deployment!r} with an ability at questions",
                hint=suggestion(deployment, tuple(able)),
            )
        asked.question(number)
        return success_rates(asked, one.ability, one.dice_of(self.seed))[number]


def _made(kind: type[T], document: Document) -> T:
    """The document as a scenario whose configuration can be used."""
    normal, problems = check(document, kind)
    if problems:
        raise problems[0]
    _refuse_twins(normal, document)
    try:
        made = msgspec.convert(normal, kind)
    except msgspec.ValidationError as exc:
        message, _, path = str(exc).partition(" - at `$")
        raise document.error(path.strip(".`"), message) from exc
    assert isinstance(made, Scenario)
    _check_configuration(made, document)
    return made


def _refuse_twins(normal: Mapping[str, Any], document: Document) -> None:
    seen: set[object] = set()
    for number, deployment in enumerate(normal["deployments"]):
        if deployment["id"] in seen:
            place = f"{child('deployments', number)}.id"
            raise document.error(place, f"deployment {deployment['id']!r} is listed twice")
        seen.add(deployment["id"])


def _check_configuration(scenario: Scenario, document: Document) -> None:
    """Refuse what only the whole configuration shows, at the place of the scenario that it comes from."""
    mapping = scenario.config()
    compiled: Any = mapping["deployments"]
    for number, (stated, one) in enumerate(zip(scenario.deployments, compiled, strict=True)):
        place = child("deployments", number)
        with _placed(document, "deployments[0].", place, stated):
            Config.from_mapping({"deployments": [one]}, environ={})
    with _placed(document):
        Config.from_mapping(mapping, environ={})


@contextmanager
def _placed(
    document: Document, prefix: str = "", place: str = "", stated: MockDeployment | None = None
) -> Generator[None]:
    """Move an error from the configuration to the scenario."""
    try:
        yield
    except ConfigError as exc:
        inside = exc.path.removeprefix(prefix)
        if stated is not None and inside.partition(".")[0] in stated.profile:
            inside = f"profile.{inside}"
        path = join(place, inside.removeprefix("price."))
        message = exc.message.removeprefix(f"{exc.path}: ")
        raise document.error(path, message, hint=exc.hint) from exc
