"""What a client's store has learned: shown, handed on, taken in and forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from tt_compute.errors import StoreError, UnknownNameError
from tt_compute.planning.estimates import Estimates, History, Version
from tt_compute.planning.evidence_file import Evidence
from tt_compute.planning.learned import Learned, learned
from tt_compute.profiles.checking import suggestion
from tt_compute.profiles.schema import DeploymentSpec, ModelProfile
from tt_compute.setup import Setup
from tt_compute.store import Store

__all__ = ["evidence_of", "forget", "take_in", "what_was_learned"]

T = TypeVar("T")


async def what_was_learned(
    setup: Setup,
    *,
    model: str | None = None,
    deployment: str | None = None,
    mock: bool = False,
) -> Learned:
    """What past runs taught, read afresh.

    Args:
        setup: Of the client.
        model: Only of this model; None = all.
        deployment: Only of this deployment and its model; None = all.
        mock: Of mock runs, which teach no plan, instead of real ones.

    Raises:
        UnknownNameError: There is no such deployment, and nothing of such a model.
        StoreError: There is no store, or it cannot be read.
    """
    spec = None if deployment is None else setup.spec(deployment)
    store, versions = await _usable(setup), _versions(setup, spec)
    estimates = await store.estimates(mock=mock, versions=versions)
    history = await store.history(mock=mock, versions=versions)
    _check_model(setup, model, estimates)
    if spec is not None:
        estimates = _of_model(_of_deployment(estimates, spec.id), spec.model.id)
        history = _history_of(history, {spec.id})
    specs = setup.config.deployments if spec is None else (spec,)
    if model is not None:
        estimates = _of_model(estimates, model)
        running = {one.id for one in specs if one.model.id == model}
        speeds = {key: seen for key, seen in estimates.speeds.items() if key[0] in running}
        estimates = msgspec.structs.replace(estimates, speeds=speeds)
        history = _history_of(history, running)
    return learned(estimates, history, _profiles(setup, specs, estimates), specs)


async def evidence_of(setup: Setup, *, mock: bool = False) -> Evidence:
    """What the own runs taught of what is configured now, for another machine.

    Raises:
        StoreError: There is no store, or it cannot be read.
    """
    return await (await _usable(setup)).evidence(mock=mock, versions=_versions(setup, None))


async def take_in(setup: Setup, evidence: Evidence) -> int:
    """Keep another machine's evidence beside the own; returns its questions.

    Raises:
        StoreError: There is no store, or the evidence is its own.
    """
    taken = await (await _usable(setup)).take_in(evidence)
    setup.learned(at_once=True)
    return taken


async def forget(
    setup: Setup,
    *,
    model: str | None = None,
    deployment: str | None = None,
    task: str | None = None,
    mock: bool = False,
) -> tuple[int, int]:
    """Let runs so far teach nothing any more; their receipts stay.

    Returns:
        Runs, and parts of imports that were dropped.

    Raises:
        StoreError: There is no store, or it cannot be written.
    """
    store = await _usable(setup)
    counts = await store.forget(mock=mock, model=model, deployment=deployment, task=task)
    setup.learned(at_once=True)
    return counts


async def _usable(setup: Setup) -> Store:
    store = await setup.store()
    if store.unusable is not None:
        raise StoreError(f"there is no store: {store.unusable}")
    return store


def _versions(setup: Setup, pinned: DeploymentSpec | None) -> dict[str, Version]:
    specs = (*setup.config.deployments, *(() if pinned is None else (pinned,)))
    return {spec.id: setup.version(spec) for spec in specs}


def _check_model(setup: Setup, model: str | None, estimates: Estimates) -> None:
    if model is None:
        return
    known = {spec.model.id for spec in setup.config.deployments}
    known |= set(setup.config.library.ids("model"))
    known |= {key[0] for key in (*estimates.observations, *estimates.greedy, *estimates.lengths)}
    if model not in known:
        raise UnknownNameError(
            f"there is no model {model!r}", hint=suggestion(model, tuple(sorted(known)))
        )


def _of_model(estimates: Estimates, model: str) -> Estimates:
    return msgspec.structs.replace(
        estimates,
        observations=_keyed(estimates.observations, model),
        greedy=_keyed(estimates.greedy, model),
        lengths=_keyed(estimates.lengths, model),
    )


def _of_deployment(estimates: Estimates, deployment: str) -> Estimates:
    return msgspec.structs.replace(estimates, speeds=_keyed(estimates.speeds, deployment))


def _keyed(found: Mapping[tuple[str, str], T], name: str) -> dict[tuple[str, str], T]:
    return {key: value for key, value in found.items() if key[0] == name}


def _history_of(history: History, deployments: set[str]) -> History:
    kept = tuple(one for one in history.left_out if one.deployment in deployments)
    return msgspec.structs.replace(history, left_out=kept)


def _profiles(
    setup: Setup, specs: Iterable[DeploymentSpec], estimates: Estimates
) -> dict[str, ModelProfile]:
    """Of the models that something was learned of: a deployment's own, else the library's."""
    profiles = {spec.model.id: spec.model for spec in specs}
    library = setup.config.library
    known = set(library.ids("model"))
    for model, _ in (*estimates.observations, *estimates.greedy, *estimates.lengths):
        if model not in profiles and model in known:
            profiles[model] = library.model(model)
    return profiles
