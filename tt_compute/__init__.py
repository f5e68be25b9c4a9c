"""Test-time compute for any hardware: spend the right number of samples on each request.

    import tt_compute as tt

    with tt.Client() as client:
        result = client.solve("If 3 pens cost $4.50, what do 7 cost?")
        print(result.answer, result.receipt.samples_drawn)

Names load when they are first used, so ``import tt_compute`` costs the standard library only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tt_compute.client import AsyncClient as AsyncClient
    from tt_compute.client import Client as Client
    from tt_compute.config import Config as Config
    from tt_compute.errors import BackendError as BackendError
    from tt_compute.errors import ConfigError as ConfigError
    from tt_compute.errors import DeadlineExceeded as DeadlineExceeded
    from tt_compute.errors import InfeasibleError as InfeasibleError
    from tt_compute.errors import TTComputeError as TTComputeError
    from tt_compute.errors import UsageError as UsageError
    from tt_compute.planning.batch import Budget as Budget
    from tt_compute.planning.types import Objective as Objective
    from tt_compute.planning.types import Plan as Plan
    from tt_compute.results import Progress as Progress
    from tt_compute.results import Receipt as Receipt
    from tt_compute.results import Result as Result
    from tt_compute.results import Revision as Revision
    from tt_compute.results import TextDelta as TextDelta
    from tt_compute.strategies.beam import Beam as Beam
    from tt_compute.strategies.budget_forcing import BudgetForcing as BudgetForcing
    from tt_compute.strategies.deepconf import DeepConf as DeepConf
    from tt_compute.strategies.dvts import DVTS as DVTS
    from tt_compute.strategies.mbr import MBR as MBR
    from tt_compute.strategies.mixture import Mixture as Mixture
    from tt_compute.strategies.panel import Panel as Panel
    from tt_compute.strategies.refine import Refine as Refine
    from tt_compute.strategies.revise import Revise as Revise
    from tt_compute.strategies.tree_of_thought import TreeOfThought as TreeOfThought
    from tt_compute.types import Delta as Delta
    from tt_compute.types import Failed as Failed
    from tt_compute.types import GenerateRequest as GenerateRequest
    from tt_compute.types import Message as Message
    from tt_compute.types import Reliability as Reliability
    from tt_compute.types import Sample as Sample
    from tt_compute.types import SamplingParams as SamplingParams

    __version__: str

_HOMES = {
    "AsyncClient": "client",
    "BackendError": "errors",
    "Beam": "strategies.beam",
    "Budget": "planning.batch",
    "BudgetForcing": "strategies.budget_forcing",
    "Client": "client",
    "Config": "config",
    "ConfigError": "errors",
    "DVTS": "strategies.dvts",
    "DeadlineExceeded": "errors",
    "DeepConf": "strategies.deepconf",
    "Delta": "types",
    "Failed": "types",
    "GenerateRequest": "types",
    "InfeasibleError": "errors",
    "Message": "types",
    "Mixture": "strategies.mixture",
    "Objective": "planning.types",
    "Panel": "strategies.panel",
    "Plan": "planning.types",
    "Progress": "results",
    "Receipt": "results",
    "MBR": "strategies.mbr",
    "Refine": "strategies.refine",
    "Reliability": "types",
    "Result": "results",
    "Revise": "strategies.revise",
    "Revision": "results",
    "Sample": "types",
    "SamplingParams": "types",
    "TTComputeError": "errors",
    "TextDelta": "results",
    "TreeOfThought": "strategies.tree_of_thought",
    "UsageError": "errors",
}

__all__ = [
    "DVTS",
    "MBR",
    "AsyncClient",
    "BackendError",
    "Beam",
    "Budget",
    "BudgetForcing",
    "Client",
    "Config",
    "ConfigError",
    "DeadlineExceeded",
    "DeepConf",
    "Delta",
    "Failed",
    "GenerateRequest",
    "InfeasibleError",
    "Message",
    "Mixture",
    "Objective",
    "Panel",
    "Plan",
    "Progress",
    "Receipt",
    "Refine",
    "Reliability",
    "Result",
    "Revise",
    "Revision",
    "Sample",
    "SamplingParams",
    "TTComputeError",
    "TextDelta",
    "TreeOfThought",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - importing it costs 20 ms

        return version("tt-compute")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tt_compute' has no attribute {name!r}")
    value = getattr(import_module(f"tt_compute.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
