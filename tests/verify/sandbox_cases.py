"""Programs that mean harm, and what must become of each; run on every way to build a sandbox."""

from __future__ import annotations

import anyio
import msgspec

from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox
from tt_compute.verify.sandbox.types import Case, Limits, Program, Ran

__all__ = ["HOSTILE", "held", "hostile"]

HOSTILE: dict[str, tuple[str, str]] = {
    # name: the program, which prints "done it" when it could; and how it may end
    "reads the accounts": ("print(open('/etc/passwd').read()); print('done it')", "exit"),
    "reads a home folder": ("import os; print(os.listdir('/root')); print('done it')", "exit"),
    "reads a secret of the environment": (
        "import os\nif any('SECRET' in name for name in os.environ): print('done it')",
        "exit",
    ),
    "reads the environment of process 1": (
        "print(open('/proc/1/environ').read()); print('done it')",
        "exit",
    ),
    "calls a server": (
        "import socket; socket.create_connection(('127.0.0.1', 80), 1); print('done it')",
        "exit",
    ),
    "sends a datagram": (
        """import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))
print('done it')""",
        "exit",
    ),
    "binds an abstract socket": (
        "import socket; socket.socket(socket.AF_UNIX).bind('\\0here'); print('done it')",
        "exit",
    ),
    "forks without end": (
        "import os\nfor _ in range(50):\n    os.fork()\nprint('done it')",
        "exit",
    ),
    "starts a shell": ("import subprocess; subprocess.run(['/bin/sh']); print('done it')", "exit"),
    "becomes another program": ("import os; os.execv('/usr/bin/env', ['env'])", "exit"),
    "takes all memory": (
        "held = []\nwhile True:\n    held.append(bytearray(1 << 26))",
        "exit",
    ),
    "takes memory for ever": ("held = bytearray(1 << 40); print('done it')", "exit"),
    "floods its output": ("while True: print('x' * 4096)", "output"),
    "floods its errors": ("import sys\nwhile True: sys.stderr.write('x' * 4096)", "output"),
    "sleeps for ever": ("import time\nwhile True: time.sleep(3600)", "wall"),
    "closes everything and sleeps": (
        "import os, time\nos.closerange(0, 64)\ntime.sleep(3600)",
        "wall",
    ),
    "ignores signals and computes": (
        """import signal
for one in range(1, 65):
    try: signal.signal(one, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass""",
        "cpu",
    ),
    "writes outside": (
        """for place in ('/x', '/tmp/x', '/dev/x', '/dev/shm/x', '/usr/lib/x', 'x'):
    try: open(place, 'w')
    except OSError: continue
    print('done it')""",
        "exit",
    ),
    "hides memory in a file": (
        "import os; os.memfd_create('x'); print('done it')",
        "exit",
    ),
    "dies of a signal": ("import os; os.kill(os.getpid(), 11)", "signal"),
    "starts threads without end": (
        """import threading, time
threading.stack_size(64 * 1024)
for _ in range(1000):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
print('done it')""",
        "exit",
    ),
    "says that it passed": (
        "import os\nos.write(3, b'passed\\n'); os._exit(0)",
        "exit",
    ),
}
_LIMITS = Limits(
    wall_s=1.5, cpu_s=1, memory_bytes=256 << 20, threads=8, output_bytes=65536, total_s=30
)


def hostile(name: str) -> Program:
    """The program, as a script and with a check behind it that nothing keeps from running."""
    source, ended = HOSTILE[name]
    # What must run out of processor time gets the wall time for it, however busy the machine is.
    wall_s = 15 if ended == "cpu" else _LIMITS.wall_s
    limits = msgspec.structs.replace(_LIMITS, wall_s=wall_s)
    return Program(source=source, cases=(Case(), Case(check="pass")), limits=limits)


def held(name: str, ran: tuple[Ran, ...]) -> bool:
    """Whether it could do nothing, and ended as it must."""
    _, ended = HOSTILE[name]
    return all(one.ended == ended and "done it" not in one.stdout for one in ran)


async def _try_all() -> int:
    sandbox = BubblewrapSandbox(size=2)
    try:
        return sum([held(name, await sandbox.run(hostile(name))) for name in HOSTILE])
    finally:
        sandbox.close()


if __name__ == "__main__":
    print(anyio.run(_try_all), "held")  # noqa: T201 - what the test reads
