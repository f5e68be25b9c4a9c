"""Local servers that answer as Groq, Cerebras and OpenAI-compatible servers do, and fail as they do.

For tests and benchmarks, over real sockets on 127.0.0.1. Shapes of answers, headers, errors and streams follow the
SDKs' own types and the services' documentation; what was never seen live says so where it stands.
"""

from ttc_servers.chat import KEY, ChatServer
from ttc_servers.faults import Fault, Kind, closed_port
from ttc_servers.lists import Listed
from ttc_servers.proxy import FaultProxy, Harm, How
from ttc_servers.record import Bill, Received, Seen
from ttc_servers.script import Limits, Script

__all__ = [
    "KEY",
    "Bill",
    "ChatServer",
    "Fault",
    "FaultProxy",
    "Harm",
    "How",
    "Kind",
    "Limits",
    "Listed",
    "Received",
    "Script",
    "Seen",
    "closed_port",
]
