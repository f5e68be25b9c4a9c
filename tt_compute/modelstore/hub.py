"""Weights from the Hugging Face hub, or from what HF_ENDPOINT points at."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from tt_compute.modelstore.transfer import SourceFailed, Transfer, run_child

__all__ = ["fetch_from_hub"]


def fetch_from_hub(repo: str, revision: str | None, name: str, transfer: Transfer) -> Path:
    """The file as the hub sent it; its digest is for the caller to check.

    An earlier, interrupted download goes on where it ended. The library runs in a child process: it
    reads its settings when imported, and a child can be stopped at any moment.

    Args:
        repo: ``owner/name``.
        revision: Branch, tag or commit; None = the default branch.
        name: Path inside the repository.
        transfer: The work order.

    Raises:
        SourceFailed: The library is not installed, the hub cannot be reached, or it has no such file.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise SourceFailed("huggingface_hub is not installed (pip install 'tt-compute[hub]')")
    target = transfer.folder / "hub.partial"
    total = transfer.file.bytes

    def report() -> None:
        done = target.stat().st_size if target.exists() else 0
        transfer.progress(f"download {repo}", done, total)

    report()
    run_child(
        (
            *(sys.executable, "-m", "tt_compute.modelstore.hub_child"),
            *(repo, name, revision or "", str(target), str(total)),
        ),
        # Telemetry would also cost a request of its own before the first byte.
        environ={
            **transfer.environ,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
        logs=transfer.folder,
        check_cancelled=transfer.check_cancelled,
        on_poll=report,
    )
    return target
