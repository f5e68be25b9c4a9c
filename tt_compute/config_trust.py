"""What a configuration may do that was found by its mere presence: not carry keys to hosts of its own choosing.

Somebody who clones a repository and runs ``ttc`` inside it has chosen neither its ``ttc.yaml`` nor where that
sends GROQ_API_KEY. A file that was named, by ``--config`` or ``TTC_CONFIG``, is the user's own word.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import cache
from urllib.parse import urlsplit

from tt_compute.errors import ConfigError
from tt_compute.profiles.library import ProfileLibrary
from tt_compute.profiles.schema import DeploymentSpec

__all__ = ["check_destination"]


def check_destination(spec: DeploymentSpec) -> None:
    """Refuse a deployment that sends a variable of a shipped profile elsewhere than that profile does.

    Raises:
        ConfigError: It does; the message names the variable, never its value.
    """
    variable = spec.deployment.auth.env
    if variable is None:
        return
    url = spec.deployment.endpoint.base_url
    hosts = _shipped_hosts().get(variable)
    host = _host(url)
    if hosts is None or _is_loopback(host) or host in hosts:
        return
    place = spec.place("auth")
    raise ConfigError(
        f"sends {variable} to {host or 'a host that it does not name'}, and tt_compute knows it as the key of "
        f"{', '.join(sorted(hosts))}",
        file=place.file,
        line=place.line,
        path="endpoint.base_url",
        hint="if that is what you want, name this file: --config, or TTC_CONFIG",
    )


@cache
def _shipped_hosts() -> Mapping[str, frozenset[str]]:
    """Where each variable of a shipped deployment goes."""
    library = ProfileLibrary()
    found: dict[str, frozenset[str]] = {}
    for deployment in library.ids("deployment"):
        spec = library.resolve(deployment)
        variable, host = spec.deployment.auth.env, _host(spec.deployment.endpoint.base_url)
        if variable is not None and host is not None:
            found[variable] = found.get(variable, frozenset()) | {host}
    return found


def _host(url: str | None) -> str | None:
    try:
        return None if url is None else urlsplit(url).hostname
    except ValueError:
        return None


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
