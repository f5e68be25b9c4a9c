"""How a sandbox is started: bubblewrap, as root by way of a user who owns nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import msgspec

from tt_compute.errors import VerifierError
from tt_compute.verify.sandbox.runtime import Runtime, find_runtime

__all__ = ["Launch", "explain", "find_launch"]

NOBODY = 64999
"""User and group as which root starts bubblewrap: limits on processes do not hold for root."""
_INSIDE = "65534"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_INSTALL = (
    "install bubblewrap: apt install bubblewrap, dnf install bubblewrap, or pacman -S bubblewrap"
)
_NAMESPACES = (
    "user namespaces may be switched off here (sysctl user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; in a container its "
    "own seccomp profile); another sandbox can be plugged in"
)


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A command that starts the first process of a sandbox, and as whom."""

    command: tuple[str, ...]
    user: int | None
    """None = as the user who this is."""

    def start(self) -> subprocess.Popen[bytes]:
        """Start one; its pipes are the only descriptors that it gets.

        Raises:
            VerifierError: It cannot be started.
        """
        try:
            return subprocess.Popen(  # noqa: S603 - our own command, no text of anybody else's in it
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={"PATH": "/usr/bin"},
                cwd="/",
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise VerifierError(f"bubblewrap cannot be started: {error}", hint=_INSTALL) from error


def find_launch(search: str | None = None, *, runtime: Runtime | None = None) -> Launch:
    """What starts a sandbox here. Whether that works is seen only by starting one.

    Args:
        search: Where to look for ``bwrap``, as ``PATH``; None = this process's own.
        runtime: What programs run on; None = the one that is found.

    Raises:
        VerifierError: bubblewrap or a Python is missing, or this is not Linux.
    """
    if sys.platform != "linux":
        raise VerifierError(
            f"programs cannot be isolated on {sys.platform}: bubblewrap needs Linux",
            hint="plug another sandbox in, entry-point group tt_compute.sandboxes",
        )
    bwrap = shutil.which("bwrap", path=search)
    if bwrap is None:
        raise VerifierError(
            "programs are run in a sandbox only, and bubblewrap (bwrap) is not installed",
            hint=_INSTALL,
        )
    runtime = runtime or find_runtime()
    return Launch(
        command=(os.path.realpath(bwrap), *_isolation(bwrap, runtime), "--", *_worker(runtime)),
        user=NOBODY if os.geteuid() == 0 else None,
    )


def explain(said: str) -> VerifierError:
    """The error for a sandbox that ended before it was ready."""
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    return VerifierError(f"the sandbox did not start: {last[0][:300]}", hint=_NAMESPACES)


def _isolation(bwrap: str, runtime: Runtime) -> list[str]:
    arguments = ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
    if "--disable-userns" in _help(bwrap):
        arguments.append("--disable-userns")
    arguments += ["--as-pid-1", "--cap-drop", "ALL", "--uid", _INSIDE, "--gid", _INSIDE]
    arguments += ["--hostname", "sandbox", *runtime.arguments()]
    for device in _DEVICES:
        arguments += ["--dev-bind", device, device]
    # No /proc, no /etc, no /tmp: nothing there can be written, and nothing tells of the host.
    return [*arguments, "--remount-ro", "/", "--chdir", "/"]


def _worker(runtime: Runtime) -> list[str]:
    source = Path(__file__).with_name("worker.py").read_text(encoding="utf-8")
    return [str(runtime.python), "-I", "-S", "-B", "-X", "utf8", "-c", source]


@lru_cache
def _help(bwrap: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - asks a program what it can
            [bwrap, "--help"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise VerifierError(f"bubblewrap cannot be started: {error}", hint=_INSTALL) from error
    return done.stdout + done.stderr
