"""What a program must not be able to do, tried in each kind of sandbox before it is first used."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from tt_compute.errors import VerifierError
from tt_compute.verify.sandbox.types import Case, Limits, Program, Ran

__all__ = ["PROBES", "probe_program", "refuse_leaks"]

_SOURCE = '''
import ctypes, fcntl, os, platform, resource, socket, threading

libc = ctypes.CDLL(None, use_errno=True)

def refused(attempt, *arguments, errors=OSError):
    try:
        attempt(*arguments)
    except errors:
        return
    raise AssertionError(f"{attempt} was allowed")

def refused_call(name, *arguments):
    """A system call by number; only x86-64 is tried."""
    if platform.machine() == "x86_64":
        assert libc.syscall(ctypes.c_long(name), *map(ctypes.c_long, arguments)) == -1

def unwritable(folder):
    """Leaves nothing even where that fails."""
    file = folder + '/left-behind'
    try:
        open(file, 'w').close()
    except OSError:
        return
    os.unlink(file)
    raise AssertionError(f"{file} was written")

def threads(number):
    # Small stacks, so that it is their number that is refused and not their memory.
    threading.stack_size(64 * 1024)
    waiting = threading.Event()
    started = [threading.Thread(target=waiting.wait, daemon=True) for _ in range(number)]
    for thread in started:
        thread.start()
'''
PROBES = MappingProxyType(
    {
        "read the host's accounts": "refused(open, '/etc/passwd'); refused(open, '/etc/shadow')",
        "see the host's folders": (
            "assert set(os.listdir('/')) <= {'dev', 'lib', 'lib32', 'lib64', 'usr', 'root', 'opt', 'home'}\n"
            "for place in ('/root', '/home', '/opt', '/tmp', '/var', '/proc', '/sys', '/etc', '/run'):\n"
            "    assert not os.path.exists(place) or place in ('/root', '/home', '/opt')"
        ),
        "write a file": (
            "for place in ('/', '/dev', '/dev/shm', '/usr/lib', '/tmp', '.'):\n"
            "    unwritable(place)"
        ),
        "see the environment": (
            "assert set(os.environ) <= {'PATH', 'PWD', 'LC_CTYPE'}, dict(os.environ)"
        ),
        "open a socket": (
            "for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):\n"
            "    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):\n"
            "        refused(socket.socket, family, kind)"
        ),
        "start a process": (
            "refused(os.fork); refused_call(435, 0, 0)\nrefused(os.execv, '/usr/bin/env', ['env'])"
        ),
        "end its supervisor": "os.kill(1, 9); os.kill(1, 15); os.kill(1, 2)",
        "limit or slow its supervisor": (
            "refused(resource.prlimit, 1, resource.RLIMIT_CPU, resource.getrlimit(resource.RLIMIT_CPU))\n"
            "refused(os.setpriority, os.PRIO_PROCESS, 1, 0)\n"
            "refused(os.sched_setaffinity, 1, os.sched_getaffinity(0))"
        ),
        "watch or lock the host's files": (
            "file = open(os.__file__); refused(fcntl.flock, file, fcntl.LOCK_SH | fcntl.LOCK_NB)\n"
            "refused(fcntl.lockf, file, fcntl.LOCK_SH | fcntl.LOCK_NB)\n"
            "assert libc.inotify_init1(0) == -1; refused(os.utime, '/dev/null')"
        ),
        "be somebody": "assert os.getuid() == os.geteuid() == 65534; refused(os.setuid, 0)",
        "make a namespace or a mount": (
            "assert libc.unshare(0x10000000) == -1; assert libc.unshare(0x00020000) == -1\n"
            "assert libc.mount(b'none', b'/dev', b'tmpfs', 0, None) == -1"
        ),
        "look into a process": (
            "assert libc.ptrace(16, 1, 0, 0) == -1; refused_call(310, 1, 0, 0, 0, 0, 0)\n"
            "refused_call(438, 3, 0, 0)"
        ),
        "use io_uring, keyrings, bpf or userfaultfd": (
            "for number in (425, 250, 321, 323, 298):\n    refused_call(number, 0, 0, 0, 0)"
        ),
        "take memory outside its limit": (
            "refused(bytearray, 1 << 30, errors=MemoryError)\n"
            "refused_call(319, 0, 0); refused_call(29, 0, 4096, 0o1600)"
        ),
        "start threads without end": "refused(threads, 64, errors=RuntimeError)",
        "raise its limits": (
            "for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NPROC):\n"
            "    most = resource.getrlimit(kind)[1]\n"
            "    assert most > 0\n"
            "    refused(resource.setrlimit, kind, (most, most + 1), errors=(OSError, ValueError))"
        ),
    }
)
"""What must be refused -> code that raises where it is not."""
_MUST_WORK = (
    "threads(2); left, right = socket.socketpair(); left.send(b'x'); assert right.recv(1) == b'x'"
)


def probe_program() -> Program:
    """All probes, and behind them one run of what programs may do."""
    checks = (*PROBES.values(), _MUST_WORK)
    limits = Limits(wall_s=20, total_s=60, memory_bytes=256 << 20, threads=8)
    cases = tuple(Case(check=check) for check in checks)
    return Program(source=_SOURCE, cases=cases, limits=limits)


def refuse_leaks(ran: Sequence[Ran]) -> None:
    """Look at what became of the probes.

    Raises:
        VerifierError: One was not refused, or what must work did not.
    """
    *probes, works = ran
    for what, one in zip(PROBES, probes, strict=True):
        if not one.checked:
            raise VerifierError(
                f"the sandbox does not hold: a program could {what} ({_last(one)})",
                hint="nothing is run in it; report this with the versions of bubblewrap and the kernel",
            )
    if not works.checked:
        raise VerifierError(f"the sandbox is of no use: a harmless program failed ({_last(works)})")


def _last(ran: Ran) -> str:
    lines = ran.stderr.strip().splitlines()
    return lines[-1][:200] if lines else ran.ended
