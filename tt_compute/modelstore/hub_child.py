"""The process that talks to the hub: ``python -m tt_compute.modelstore.hub_child REPO FILE REVISION TARGET BYTES``.

The library's own ``hf_hub_download`` is not used because it tries an unreachable hub for 23 s and
starts an interrupted file anew; asking for the metadata first and writing into our own partial file
mends both.
"""

from __future__ import annotations

import sys
from pathlib import Path

from huggingface_hub import (
    get_hf_file_metadata,  # pyright: ignore[reportUnknownVariableType] - a bare `dict` in its signature
    get_token,
    hf_hub_url,
)
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import (
    http_get,  # pyright: ignore[reportUnknownVariableType] - a bare `tqdm` in its signature
)

_METADATA_TIMEOUT_S = 5.0


def main(arguments: list[str]) -> str | None:
    """Fetch the file; returns why it could not be, or None when it is complete."""
    repo, name, revision, target, size = arguments
    total = int(size)
    try:
        return _fetch(hf_hub_url(repo, name, revision=revision or None), Path(target), total)
    except HfHubHTTPError as exc:
        return f"{type(exc).__name__}: {str(exc).splitlines()[0]}"
    except Exception as exc:  # noqa: BLE001 - outermost edge; the HTTP library's errors have no common base with the hub's
        return f"not reachable ({type(exc).__name__}: {exc})"


def _fetch(url: str, target: Path, total: int) -> str | None:
    found = get_hf_file_metadata(url, timeout=_METADATA_TIMEOUT_S).size
    if found is not None and found != total:
        return f"the hub's file has {found} bytes, the profile says {total}"
    if target.exists() and target.stat().st_size > total:
        target.unlink()
    token = get_token()
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    with target.open("ab") as out:
        http_get(url, out, resume_size=out.tell(), headers=headers, expected_size=total)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
