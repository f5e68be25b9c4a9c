"""math-verify in a process that may hang or die without taking anything along.

math-verify must not run here: its time limit works only in a main thread, and an expression from a
model can keep sympy busy for ever or fill the memory.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from tt_compute.verify.killable import KillableProcess

__all__ = ["MathProcess"]

_MEND = 'pip install --upgrade "tt-compute[math]"'
_DEFAULT_COMMAND = (sys.executable, "-P", "-m", "tt_compute.verify.math_worker")


class MathProcess(KillableProcess):
    """math-verify in a child process; see ``KillableProcess``.

    Args:
        timeout_s: Most seconds one question may take before the process is killed.
        start_timeout_s: Most seconds for the start, which imports sympy (0.5 s on an idle machine).
        command: What to run instead; speaks the same lines. For tests.
        installed: Whether math-verify can be imported; None looks for it.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 3.0,
        start_timeout_s: float = 60.0,
        command: Sequence[str] | None = None,
        installed: bool | None = None,
    ) -> None:
        super().__init__(
            "math-verify",
            command or _DEFAULT_COMMAND,
            timeout_s=timeout_s,
            start_timeout_s=start_timeout_s,
            mend=_MEND,
        )
        found = importlib.util.find_spec("math_verify") is not None
        self.installed: bool = found if installed is None else installed

    async def parses(self, expression: str) -> bool:
        """Whether math-verify can read the LaTeX expression.

        Raises:
            VerifierError: The process hung, died or failed on it.
        """
        return await self._about(expression)

    async def equal(self, first: str, second: str) -> bool:
        """Whether two LaTeX expressions are mathematically equal; an unreadable one equals nothing.

        Raises:
            VerifierError: The process hung, died or failed on them.
        """
        return await self._about(first, second)

    async def _about(self, *expressions: str) -> bool:
        about = " and ".join(repr(expression[:80]) for expression in expressions)
        return await self.ask({"expressions": expressions}, about)
