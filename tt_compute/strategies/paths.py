"""The beginnings of a solution that step-wise search grows, and how a next step comes to one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tt_compute.strategies.base import Ended
from tt_compute.types import Sample
from tt_compute.verify.base import Answer, Task

__all__ = ["Path", "children_of"]


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """A beginning of a solution, or a whole one."""

    steps: tuple[str, ...] = ()
    """Joined they are the text."""
    last: Ended | None = None
    """The sample that its last step is; None = nothing was said yet."""
    tree: int = 0
    """Which of the independent searches it belongs to."""
    score: float | None = None
    """None = unknown, which ranks below all that is known."""
    finished: bool = False

    @property
    def text(self) -> str:
        return "".join(self.steps)

    @property
    def answer(self) -> Answer | None:
        return None if self.last is None else self.last.answer

    @property
    def index(self) -> int:
        """Of the last sample; -1 before the first."""
        return -1 if self.last is None else self.last.index

    @property
    def rank(self) -> tuple[bool, float, int]:
        """Sorts the best one first, the one drawn first among equals."""
        return (self.score is None, -(self.score or 0.0), self.index)


def children_of(
    path: Path, samples: Sequence[Ended], *, stop: str, task: Task, whole: bool
) -> list[Path]:
    """What the samples make of a path. Equal next steps are one: both would go on alike.

    Args:
        path: What they go on from.
        samples: In the order of drawing; failed and cancelled ones make nothing.
        stop: Ends a step.
        task: Finds answers.
        whole: The samples were to go on to the end.
    """
    children: dict[str | int, Path] = {}
    for ended in samples:
        event = ended.event
        if isinstance(event, Sample) and event.finish_reason != "cancelled":
            child = _child(path, ended, event, stop=stop, task=task, whole=whole)
            # Finished ones are votes, each of them one.
            children.setdefault(ended.index if child.finished else child.text, child)
    return list(children.values())


def _child(path: Path, ended: Ended, event: Sample, *, stop: str, task: Task, whole: bool) -> Path:
    text = path.text + event.text
    cut = event.finish_reason not in ("stop", "tool_calls")
    if event.finish_reason == "deadline":
        finished = False
    elif cut or whole:
        finished = True
    else:
        finished = _ends(path, event, stop, task)
    # What goes on may still come to another answer, unless nothing goes on at all.
    answer = task.extract(text, truncated=cut) if finished or cut else None
    said = _parted(event.text, stop) if finished or cut else (event.text + stop,)
    return Path(
        steps=(*path.steps, *said),
        last=msgspec.structs.replace(ended, answer=answer),
        tree=path.tree,
        score=path.score,
        finished=finished,
    )


def _parted(text: str, stop: str) -> tuple[str, ...]:
    """The steps of what went on to an end of its own, each but the last with what ends it."""
    *others, last = text.split(stop)
    return (*(other + stop for other in others), last)


def _ends(path: Path, event: Sample, stop: str, task: Task) -> bool:
    """Whether the model had nothing more to say, or came to the end of a step: both are called ``stop``.

    The tokens tell, where the backend hands over those of the stop string. Otherwise a path has ended
    once its answer is marked as such, or once it was asked to go on and said nothing.
    """
    spelt = "".join(token.token for token in event.logprobs)
    beyond = spelt.removeprefix(event.text)
    if beyond and beyond != spelt:
        return not beyond.startswith(stop)
    if not event.text.strip():
        return bool(path.steps)
    # Either the stop string follows or nothing does.
    answer = task.extract(path.text + event.text + stop, truncated=True)
    return answer is not None and answer.explicit
