"""The thinking that a model shows, as it stands in a text, and where it can be taken up again."""

from __future__ import annotations

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.types import Sample

__all__ = ["Marks", "Thought"]


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """What stands around thinking in a model's text.

    Raises:
        InvalidRequestError: One is empty.
    """

    opens: str = "<think>"
    closes: str = "</think>"
    opened: bool = False
    """The chat template itself opens the thinking, so that texts begin within it."""

    def __post_init__(self) -> None:
        """Refuse marks that would be found everywhere."""
        if not self.opens or not self.closes:
            raise InvalidRequestError("the marks around thinking cannot be empty")


class Thought(msgspec.Struct, frozen=True, kw_only=True):
    """Thinking, and the answer behind it."""

    thinking: str = ""
    answer: str = ""
    closed: bool = False
    """The thinking has ended."""
    cut: bool = False
    """The last sample did not end by itself."""
    seen: bool = False
    """The model was seen to think."""

    def text(self, marks: Marks) -> str:
        """As the model would have written it; empty when it has written nothing."""
        if not self.seen:
            return ""
        behind = f"{marks.closes}{self.answer}" if self.closed else ""
        return f"{marks.opens}{self.thinking}{behind}"

    def going_on(self, wait: str) -> Thought:
        """The thinking taken up where it ended; the answer is left out."""
        return Thought(thinking=self.thinking.rstrip() + wait, seen=True)

    def ended(self, final: str) -> Thought:
        """The thinking ended where it is."""
        return msgspec.structs.replace(self, closed=True, answer=final)

    def with_sample(self, sample: Sample, marks: Marks) -> Thought:
        """With what a sample adds, whose thinking stands in its text or apart from it."""
        cut = sample.finish_reason not in ("stop", "tool_calls")
        if self.closed:
            return msgspec.structs.replace(self, answer=self.answer + sample.text, cut=cut)
        inside, closed, answer = sample.text.partition(marks.closes)
        if sample.reasoning:
            inside, answer = sample.reasoning, sample.text
            closed = answer or ("" if cut else marks.closes)
        opened = inside.lstrip().startswith(marks.opens)
        if opened and not self.seen:
            inside = inside.lstrip().removeprefix(marks.opens)
        return Thought(
            thinking=self.thinking + inside,
            answer=answer,
            closed=bool(closed),
            cut=cut,
            seen=self.seen or opened or bool(closed) or bool(sample.reasoning) or marks.opened,
        )
