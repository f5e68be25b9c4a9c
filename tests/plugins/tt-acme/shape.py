"""Type checkers accept the plugin's classes for the protocols, without a common base class."""

# pyright: strict

from __future__ import annotations

from tt_acme import AcmeBackend, AcmeGeneration

from tt_compute.backend import Backend, Generation

backend: type[Backend] = AcmeBackend
generation: type[Generation] = AcmeGeneration
