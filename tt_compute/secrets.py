"""Keys: read from the environment or a file at the moment of use, never stored, never shown."""

from __future__ import annotations

from collections.abc import Mapping

from tt_compute.errors import AuthenticationError
from tt_compute.files import expanded
from tt_compute.profiles.schema import Auth

__all__ = ["EnvironmentSecrets"]

_MAX_KEY_BYTES = 64 * 1024


class EnvironmentSecrets:
    """Looks keys up where a deployment's ``auth`` points.

    Args:
        environ: The environment to read; its values never enter a repr.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __repr__(self) -> str:
        return "EnvironmentSecrets()"

    def get(self, auth: Auth) -> str | None:
        """The key, stripped; None when ``auth`` points nowhere.

        Raises:
            AuthenticationError: The variable is unset or empty, or the file cannot be read.
        """
        if auth.env is not None:
            return self._required(self._environ.get(auth.env, ""), f"variable {auth.env}")
        if auth.file is not None:
            try:
                with expanded(auth.file).open("rb") as file:
                    text = file.read(_MAX_KEY_BYTES + 1).decode("utf-8")
            except (OSError, UnicodeDecodeError) as exc:
                raise AuthenticationError(
                    f"the key file {auth.file} cannot be read ({type(exc).__name__})"
                ) from exc
            if len(text) > _MAX_KEY_BYTES:
                raise AuthenticationError(
                    f"the key file {auth.file} is larger than {_MAX_KEY_BYTES} bytes, no key is"
                )
            return self._required(text, f"file {auth.file}")
        return None

    @staticmethod
    def _required(key: str, place: str) -> str:
        if not key.strip():
            raise AuthenticationError(
                f"the {place} holds no key", hint="set it, or change `auth:` of the deployment"
            )
        return key.strip()
