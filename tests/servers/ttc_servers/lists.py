"""Lists of models: the one that takes the key, and the public one where a service has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ttc_servers.http import Exchange, Request, head
from ttc_servers.shapes import Body

if TYPE_CHECKING:
    from ttc_servers.chat import ChatServer

__all__ = ["Listed", "listing_of", "spoiled"]


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """Where its lists differ from what the service would say."""

    fields: dict[str, Any] = {}
    """Put into the entry of each model, on the list that has the figures."""
    unlisted: frozenset[str] = frozenset()
    """Models that are on no public list."""
    status: int = 200
    body: bytes | None = None
    """In the place of every list."""
    silent: bool = False
    """Lists are never answered."""


def listing_of(server: ChatServer, request: Request) -> tuple[int, Body] | None:
    """Status and body; None for what is no list of models."""
    shape = server.shape
    path = request.path.split("?")[0]
    public = bool(shape.public) and path.startswith(shape.public)
    base = shape.public if public else f"{shape.base}/models"
    if not path.startswith(base):
        return None
    if not public and not shape.open_lists and not server.allowed(request.headers):
        return 401, shape.refusal(401)
    hidden = server.listed.unlisted if public else frozenset[str]()
    names = [name for name in server.models if name not in hidden]
    if path == base:
        return 200, {"object": "list", "data": [_entry(server, name, public) for name in names]}
    name = path.removeprefix(f"{base}/")
    if name in names:
        return 200, _entry(server, name, public)
    if public:
        return 404, {"detail": f"Model '{name}' not found or not publicly available"}
    return 404, shape.refusal(404, f"The model `{name}` does not exist")


def spoiled(server: ChatServer, request: Request, exchange: Exchange) -> bool:
    """Whether the request was for a list and went wrong as the test wants it."""
    listed = server.listed
    wrong = listed.silent or listed.body is not None or listed.status != 200
    if not wrong or listing_of(server, request) is None:
        return False
    if listed.silent:
        return True
    data = listed.body
    if data is None:
        data = msgspec.json.encode(server.shape.refusal(listed.status))
    kind = "text/html" if data.startswith(b"<") else "application/json"
    exchange.write(head(listed.status, {"content-type": kind}, length=len(data)) + data)
    exchange.end()
    return True


def _entry(server: ChatServer, name: str, public: bool) -> Body:
    shape = server.shape
    entry = shape.public_model(name) if public else shape.model(name)
    return entry | server.listed.fields if public or not shape.public else entry
