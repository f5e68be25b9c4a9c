"""The system calls that a sandboxed program is refused, as a filter for the kernel (classic BPF).

A program gets one process with threads, files that are open already or can be read, memory and time.
It gets no other process, no other program, no socket but anonymous pairs, and nothing that changes or
looks into the system. Numbers are those of the kernel's own tables (``unistd.h``).
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Sequence
from types import MappingProxyType

import msgspec

from tt_compute.errors import VerifierError

__all__ = ["filter_for", "numbers_for"]

_REFUSED = (
    # other processes and programs; ``clone`` of threads is let through below
    "fork vfork execve execveat pidfd_open pidfd_send_signal pidfd_getfd",
    # looking into processes
    "ptrace process_vm_readv process_vm_writev kcmp process_madvise process_mrelease",
    # the network; pairs of Unix sockets are let through below, and are never more than pairs
    "socket bind listen connect accept accept4",
    # files of the host, which can be read: being told what others do with them, and standing in their way
    "inotify_init inotify_init1 inotify_add_watch flock fadvise64 sync syncfs",
    # its devices are the host's own, and whoever may write to one may set its times
    "utime utimes futimesat utimensat",
    # the parent's share of the processor; limits and scheduling of the program itself are let through below
    "setpriority ioprio_set",
    # namespaces and mounts
    "unshare setns mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick",
    "mount_setattr quotactl quotactl_fd name_to_handle_at open_by_handle_at fanotify_init",
    # memory that no limit of the process counts
    "memfd_create memfd_secret shmget msgget semget mq_open",
    # doors into the kernel with a long record of holes
    "bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register keyctl add_key",
    "request_key modify_ldt personality migrate_pages move_pages splice vmsplice tee",
    # the machine itself
    "init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct syslog",
    "settimeofday clock_settime adjtimex clock_adjtime sethostname setdomainname iopl ioperm",
)
_SINCE_5 = MappingProxyType(
    # Numbers that all architectures share.
    {
        "pidfd_send_signal": 424,
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "open_tree": 428,
        "move_mount": 429,
        "fsopen": 430,
        "fsconfig": 431,
        "fsmount": 432,
        "fspick": 433,
        "pidfd_open": 434,
        "clone3": 435,
        "pidfd_getfd": 438,
        "process_madvise": 440,
        "mount_setattr": 442,
        "quotactl_fd": 443,
        "memfd_secret": 447,
        "process_mrelease": 448,
    }
)
_OF_ITSELF = (
    "prlimit64",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
)
"""Calls whose first argument is a process; 0 is the one that calls."""
_REFUSED_OF_FCNTL = (
    6,  # F_SETLK
    7,  # F_SETLKW
    8,  # F_SETOWN
    10,  # F_SETSIG
    15,  # F_SETOWN_EX
    37,  # F_OFD_SETLK
    38,  # F_OFD_SETLKW
    1024,  # F_SETLEASE
    1026,  # F_NOTIFY
    1031,  # F_SETPIPE_SZ
)
"""Locks and news of files that others use, signals to others, and memory that no limit counts."""
_LAST_KNOWN = 448
"""Linux 5.16; later calls answer ENOSYS, which programs take for an older kernel."""


class _Architecture(msgspec.Struct, frozen=True, kw_only=True):
    audit: int
    """``AUDIT_ARCH_*``."""
    numbers: dict[str, int]


_X86_64 = _Architecture(
    audit=0xC000003E,
    numbers={
        "shmget": 29,
        "socket": 41,
        "connect": 42,
        "accept": 43,
        "bind": 49,
        "listen": 50,
        "socketpair": 53,
        "clone": 56,
        "fork": 57,
        "vfork": 58,
        "execve": 59,
        "semget": 64,
        "msgget": 68,
        "fcntl": 72,
        "flock": 73,
        "ptrace": 101,
        "syslog": 103,
        "utime": 132,
        "personality": 135,
        "setpriority": 141,
        "sched_setparam": 142,
        "sched_setscheduler": 144,
        "modify_ldt": 154,
        "pivot_root": 155,
        "adjtimex": 159,
        "chroot": 161,
        "sync": 162,
        "acct": 163,
        "settimeofday": 164,
        "mount": 165,
        "umount2": 166,
        "swapon": 167,
        "swapoff": 168,
        "reboot": 169,
        "sethostname": 170,
        "setdomainname": 171,
        "iopl": 172,
        "ioperm": 173,
        "init_module": 175,
        "delete_module": 176,
        "quotactl": 179,
        "sched_setaffinity": 203,
        "fadvise64": 221,
        "clock_settime": 227,
        "utimes": 235,
        "mq_open": 240,
        "kexec_load": 246,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "ioprio_set": 251,
        "inotify_init": 253,
        "inotify_add_watch": 254,
        "migrate_pages": 256,
        "futimesat": 261,
        "unshare": 272,
        "splice": 275,
        "tee": 276,
        "vmsplice": 278,
        "move_pages": 279,
        "utimensat": 280,
        "accept4": 288,
        "inotify_init1": 294,
        "perf_event_open": 298,
        "fanotify_init": 300,
        "prlimit64": 302,
        "name_to_handle_at": 303,
        "open_by_handle_at": 304,
        "clock_adjtime": 305,
        "syncfs": 306,
        "setns": 308,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "kcmp": 312,
        "finit_module": 313,
        "sched_setattr": 314,
        "memfd_create": 319,
        "kexec_file_load": 320,
        "bpf": 321,
        "execveat": 322,
        "userfaultfd": 323,
        **_SINCE_5,
    },
)
_AARCH64 = _Architecture(
    audit=0xC00000B7,
    numbers={
        "fcntl": 25,
        "inotify_init1": 26,
        "inotify_add_watch": 27,
        "ioprio_set": 30,
        "flock": 32,
        "umount2": 39,
        "mount": 40,
        "pivot_root": 41,
        "chroot": 51,
        "quotactl": 60,
        "vmsplice": 75,
        "splice": 76,
        "tee": 77,
        "sync": 81,
        "utimensat": 88,
        "acct": 89,
        "personality": 92,
        "unshare": 97,
        "kexec_load": 104,
        "init_module": 105,
        "delete_module": 106,
        "clock_settime": 112,
        "syslog": 116,
        "ptrace": 117,
        "sched_setparam": 118,
        "sched_setscheduler": 119,
        "sched_setaffinity": 122,
        "setpriority": 140,
        "reboot": 142,
        "sethostname": 161,
        "setdomainname": 162,
        "settimeofday": 170,
        "adjtimex": 171,
        "mq_open": 180,
        "msgget": 186,
        "semget": 190,
        "shmget": 194,
        "socket": 198,
        "socketpair": 199,
        "bind": 200,
        "listen": 201,
        "accept": 202,
        "connect": 203,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "clone": 220,
        "execve": 221,
        "fadvise64": 223,
        "swapon": 224,
        "swapoff": 225,
        "migrate_pages": 238,
        "move_pages": 239,
        "perf_event_open": 241,
        "accept4": 242,
        "prlimit64": 261,
        "fanotify_init": 262,
        "name_to_handle_at": 264,
        "open_by_handle_at": 265,
        "clock_adjtime": 266,
        "syncfs": 267,
        "setns": 268,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "kcmp": 272,
        "finit_module": 273,
        "sched_setattr": 274,
        "memfd_create": 279,
        "bpf": 280,
        "execveat": 281,
        "userfaultfd": 282,
        "kexec_file_load": 294,
        **_SINCE_5,
    },
)
_ARCHITECTURES = MappingProxyType({"x86_64": _X86_64, "aarch64": _AARCH64})
_ONLY_X86 = frozenset(
    {
        "fork",
        "futimesat",
        "inotify_init",
        "ioperm",
        "iopl",
        "modify_ldt",
        "utime",
        "utimes",
        "vfork",
    }
)
"""Calls that other architectures never had."""

_CLONE_THREAD = 0x00010000
_AF_UNIX = 1
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERRNO = 0x00050000
_AT_NUMBER, _AT_ARCHITECTURE, _AT_FIRST_ARGUMENT, _AT_SECOND_ARGUMENT = 0, 4, 16, 24
"""Offsets in ``struct seccomp_data``; both architectures are little-endian."""
_LOAD, _EQUALS, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06


def filter_for(machine: str | None = None) -> bytes:
    """The filter as an array of ``struct sock_filter``.

    Args:
        machine: As ``platform.machine()`` has it; None = this one.

    Raises:
        VerifierError: There is no table for the architecture.
    """
    machine = machine or platform.machine()
    architecture = _architecture(machine)
    numbers = architecture.numbers
    refused = [name for line in _REFUSED for name in line.split()]
    wanted = [name for name in refused if machine == "x86_64" or name not in _ONLY_X86]
    code = [
        _step(_LOAD, _AT_ARCHITECTURE),
        *_unless(_EQUALS, architecture.audit, _KILL),
        _step(_LOAD, _AT_NUMBER),
        # Among the later numbers are those of x32, a second way to make every call.
        *_if(_AT_LEAST, _LAST_KNOWN + 1, _ERRNO | errno.ENOSYS),
        *_if(_EQUALS, numbers["clone3"], _ERRNO | errno.ENOSYS),
        *(step for name in wanted for step in _if(_EQUALS, numbers[name], _ERRNO | errno.EPERM)),
        *_only_with(numbers["clone"], _HAS_BITS, _CLONE_THREAD),
        *_only_with(numbers["socketpair"], _EQUALS, _AF_UNIX),
        *(step for name in _OF_ITSELF for step in _only_with(numbers[name], _EQUALS, 0)),
        *_never_with(numbers["fcntl"], _REFUSED_OF_FCNTL),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(code)


def numbers_for(machine: str) -> dict[str, int]:
    """The numbers of the calls that the filter knows.

    Raises:
        VerifierError: As ``filter_for``.
    """
    return dict(_architecture(machine).numbers)


def _architecture(machine: str) -> _Architecture:
    found = _ARCHITECTURES.get(machine)
    if found is None:
        raise VerifierError(
            f"the sandbox knows no system calls of {machine}",
            hint=f"known: {', '.join(_ARCHITECTURES)}; another sandbox can be plugged in",
        )
    return found


def _step(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("<HBBI", code, then, otherwise, value)


def _if(test: int, value: int, verdict: int) -> tuple[bytes, ...]:
    return (_step(test, value, otherwise=1), _step(_RETURN, verdict))


def _unless(test: int, value: int, verdict: int) -> tuple[bytes, ...]:
    return (_step(test, value, then=1), _step(_RETURN, verdict))


def _only_with(number: int, test: int, value: int) -> tuple[bytes, ...]:
    """Let a call through only when its first argument passes the test; any other call goes on."""
    return (
        _step(_EQUALS, number, otherwise=4),
        _step(_LOAD, _AT_FIRST_ARGUMENT),
        _step(test, value, otherwise=1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ERRNO | errno.EPERM),
    )


def _never_with(number: int, values: Sequence[int]) -> tuple[bytes, ...]:
    """Let a call through unless its second argument is one of the values; any other call goes on."""
    refused = [step for value in values for step in _if(_EQUALS, value, _ERRNO | errno.EPERM)]
    return (
        _step(_EQUALS, number, otherwise=len(refused) + 2),
        _step(_LOAD, _AT_SECOND_ARGUMENT),
        *refused,
        _step(_RETURN, _ALLOW),
    )
