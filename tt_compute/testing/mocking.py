"""What ``ttc_mock`` and ``ttc_faults`` hand to a test: mock deployments, and what befalls them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast, get_args

import msgspec

from tt_compute.config import Config, StoreSettings
from tt_compute.errors import UnknownNameError, UsageError
from tt_compute.profiles.checking import suggestion
from tt_compute.profiles.schema import DeploymentSpec, PricePerMtok
from tt_compute.testing.bench import DEFAULT, Bench
from tt_compute.testing.mock_faults import Fault, FaultKind
from tt_compute.testing.scenario import Scenario
from tt_compute.testing.trial import MOCK

__all__ = ["Faults", "MockBuilder"]

_OF_SCENARIO = frozenset(Scenario.__struct_fields__)


class MockBuilder:
    """Makes configurations of mock deployments. The last one is what ``ttc_client`` is on.

    Args:
        bench: Of the test.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __call__(
        self,
        scenario: Scenario | Mapping[str, object] | Path | str | None = None,
        **options: object,
    ) -> Config:
        """A configuration, to be given to a client or a program; nothing of its runs is kept.

        Args:
            scenario: One that is made, as a mapping, or its YAML file; None = what ``options`` say.
            options: Keys of a scenario. Where ``deployments`` is not among them, also those of its one
                deployment, such as ``answers``, ``latency`` or ``faults``; its ``id`` is ``mock`` if not stated.

        Raises:
            ConfigError: It cannot be used; the first fault.
            UsageError: Options are given beside a scenario, or a deployment's beside ``deployments``.
        """
        config = _scenario(scenario, options).ready(environ=self._bench.environ)
        self._bench.use(config)
        return config

    def like(
        self, config: Config | Path | str, options: Mapping[str, Mapping[str, object]] | None = None
    ) -> Config:
        """A program's own configuration with every backend replaced by the mock.

        Ids, models, prices, speed and limits stay, so that plans are the same; prices do not age, so that they are
        the same tomorrow. Nothing of the runs is kept, and limits are shared with nobody.

        Args:
            config: The program's configuration, or its file.
            options: What mocks say and do, by id of their deployment; the others answer as ``mock`` does.

        Raises:
            ConfigError: The configuration cannot be used.
            UnknownNameError: It has no such deployment.
        """
        if not isinstance(config, Config):
            config = Config.load(config, environ=self._bench.environ)
        given = dict(options or {})
        for name, said in given.items():
            _check_known(name, config)
            _check_options(name, said)
        made = msgspec.structs.replace(
            config,
            deployments=tuple(_mocked(spec, given.get(spec.id, {})) for spec in config.deployments),
            store=StoreSettings(enabled=False),
            dispatch=msgspec.structs.replace(config.dispatch, share_limits=False),
        )
        self._bench.use(made)
        return made


class Faults:
    """Makes mock deployments fail.

    Args:
        bench: Of the test.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __call__(self, kind: str, *, deployment: str | None = None, **details: object) -> Config:
        """Add a fault behind those that are there, and start the test's ready clients anew.

        Args:
            kind: What goes wrong, such as ``rate_limit``.
            deployment: Id of the only deployment that it strikes; None = all of the test's configuration.
            details: When, and for whom: ``samples``, ``rate``, ``pattern``, ``after_tokens``, ...

        Returns:
            The configuration with the fault, for clients that a program makes.

        Raises:
            UsageError: There is no such fault, or it has no such detail.
            UnknownNameError: There is no such deployment.
        """
        fault = {"kind": kind, **details}
        if kind not in get_args(FaultKind):
            known = ", ".join(get_args(FaultKind))
            raise UsageError(f"there is no fault {kind!r}; there are {known}")
        try:
            # Tuples of Python and lists of YAML are the same to it.
            msgspec.convert(msgspec.to_builtins(fault), Fault)
        except (msgspec.ValidationError, TypeError) as error:
            raise UsageError(f"ttc_faults({kind!r}): {error}") from error
        config = self._bench.config
        if deployment is not None:
            _check_known(deployment, config)
        struck = tuple(
            _mocked(spec, _with_fault(spec, fault)) if deployment in {None, spec.id} else spec
            for spec in config.deployments
        )
        made = msgspec.structs.replace(config, deployments=struck)
        self._bench.use(made)
        return made


def _scenario(
    scenario: Scenario | Mapping[str, object] | Path | str | None, options: Mapping[str, object]
) -> Scenario:
    if scenario is not None:
        if options:
            raise UsageError(
                f"{', '.join(options)} cannot be given beside a scenario, which has stated it",
                hint="change the scenario, or leave it out",
            )
        if isinstance(scenario, Scenario):
            return scenario
        if isinstance(scenario, Path | str):
            return Scenario.load(scenario)
        return Scenario.from_mapping(scenario)
    top = {name: value for name, value in options.items() if name in _OF_SCENARIO}
    own = {name: value for name, value in options.items() if name not in _OF_SCENARIO}
    if "deployments" not in top:
        top["deployments"] = [{"id": DEFAULT, **own}]
    elif own:
        raise UsageError(
            f"{', '.join(own)} cannot be given beside `deployments`",
            hint="state it in one of the deployments",
        )
    try:
        built: Mapping[str, object] = msgspec.to_builtins(top)
    except TypeError as error:
        raise UsageError(f"ttc_mock({', '.join(options)}): {error}") from error
    return Scenario.from_mapping(built)


def _check_options(name: str, options: object) -> None:
    if not isinstance(options, Mapping):
        raise UsageError(
            f"what the mock of {name!r} says and does is {type(options).__name__}, not a mapping",
            hint="such as {'answers': ['The answer is 7.']}",
        )


def _mocked(spec: DeploymentSpec, options: Mapping[str, object]) -> DeploymentSpec:
    price = spec.deployment.price
    if price.usd_per_mtok is not None:
        facts = msgspec.structs.asdict(price.usd_per_mtok).items()
        dateless = {name: msgspec.structs.replace(fact, as_of=None) for name, fact in facts}
        price = msgspec.structs.replace(price, usd_per_mtok=PricePerMtok(**dateless))
    deployment = msgspec.structs.replace(
        spec.deployment, backend=MOCK, options=dict(options), price=price
    )
    return msgspec.structs.replace(spec, deployment=deployment)


def _with_fault(spec: DeploymentSpec, fault: Mapping[str, object]) -> Mapping[str, object]:
    options = spec.deployment.options if spec.backend == MOCK else {}
    faults = cast("Iterable[object]", options.get("faults", []))
    return {**options, "faults": [*faults, dict(fault)]}


def _check_known(deployment: str, config: Config) -> None:
    known = tuple(spec.id for spec in config.deployments)
    if deployment not in known:
        raise UnknownNameError(
            f"there is no deployment {deployment!r}", hint=suggestion(deployment, known)
        )
