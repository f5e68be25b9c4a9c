"""What a service refuses before it spends anything on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttc_servers.record import Seen
from ttc_servers.shapes import Body

if TYPE_CHECKING:
    from ttc_servers.chat import ChatServer

__all__ = ["refusal_of"]


def refusal_of(server: ChatServer, seen: Seen) -> tuple[int, Body] | None:
    """Status and body; None where it is served."""
    if not server.allowed(seen.headers):
        return 401, server.shape.refusal(401)
    message = _complaint(server, seen.body)
    return None if message is None else (400, server.shape.refusal(400, message))


def _complaint(server: ChatServer, body: Body) -> str | None:
    shape = server.shape
    messages: object = body.get("messages")
    if not isinstance(body.get("model"), str) or not isinstance(messages, list) or not messages:
        return "'model' and 'messages' are required"
    if shape.known is not None:
        for name in body.keys() - shape.known:
            return f"property '{name}' is unsupported"
    for name in shape.refused:
        if body.get(name):
            return f"property '{name}' is unsupported"
    if shape.max_n is not None and (body.get("n") or 1) > shape.max_n:
        return f"'n' : number must be at most {shape.max_n}"
    return None
