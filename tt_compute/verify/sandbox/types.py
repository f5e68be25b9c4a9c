"""What a sandbox is: it runs a program that nobody trusts, and says what the program did."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from tt_compute.errors import InvalidRequestError

__all__ = ["Case", "Limits", "Program", "Ran", "Sandbox"]

Ended = Literal["exit", "signal", "cpu", "wall", "output", "not_run"]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each run of a program may take at most.

    Raises:
        InvalidRequestError: A limit is not above 0, or above what any program could need.
    """

    wall_s: float = 10.0
    cpu_s: float = 5.0
    """Rounded up to whole seconds."""
    memory_bytes: int = 512 * 1024 * 1024
    """Address space, the interpreter's own 20 MB included; there is only one process."""
    threads: int = 16
    output_bytes: int = 1024 * 1024
    """Of what it writes to standard output, to standard error, and of the value it returns, each."""
    total_s: float = 60.0
    """For all runs of one program together; those that are left then do not begin."""

    def __post_init__(self) -> None:
        """Refuse what would allow nothing, or everything."""
        most = {"wall_s": 3600, "cpu_s": 3600, "total_s": 86400, "threads": 1024}
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not 0 < value <= most.get(name, 1 << 40):
                raise InvalidRequestError(
                    f"limit {name} must be above 0 and at most {most.get(name, 1 << 40)}, got {value}"
                )


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a program. Without ``call`` and ``check`` it runs as a script."""

    stdin: str = ""
    call: str | None = None
    """An expression over the program's names; its value is called, and what that returns is ``Ran.value``."""
    args: tuple[object, ...] = ()
    """For the call, as JSON has them."""
    check: str | None = None
    """Code that is run after the program, among its names; it raises where the program is wrong."""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A Python program and the runs that are wanted of it, each in a process of its own."""

    source: str
    cases: tuple[Case, ...]
    limits: Limits = Limits()


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one case. It says nothing of the sandbox: one that fails raises."""

    ended: Ended
    """By itself, by a signal, by a limit; ``not_run``: the time for all cases was over before it began."""
    exit_code: int | None = None
    """Of a program that ended by itself."""
    stdout: str = ""
    stderr: str = ""
    value: str | None = None
    """What the call returned, as JSON; None when it returned nothing that JSON can hold, or did not end."""
    checked: bool = False
    """The check ran to its end, as the process says in which both ran: a program that sets out to can say so
    as well. ``code_decoys`` is for that."""
    wall_s: float = 0.0


class Sandbox(Protocol):
    """Runs programs where they can do no harm; safe to share between tasks, threads and event loops.

    Plug-ins register a function without arguments that returns one, in the entry-point group
    ``tt_compute.sandboxes``.
    """

    @property
    def name(self) -> str: ...

    async def ready(self) -> None:
        """Make sure that it can be used and holds.

        Raises:
            VerifierError: It cannot, or does not; nothing is ever run without isolation instead.
        """
        ...

    async def run(self, program: Program) -> tuple[Ran, ...]:
        """Run every case; cancelling it ends the program at once, and nothing of it is left.

        Raises:
            VerifierError: The sandbox failed; that says nothing of the program.
        """
        ...

    def close(self) -> None:
        """End whatever runs; may be called twice."""
        ...
