"""Judging texts by patterns and JSON schemas, in a process that may hang on them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

from tt_compute.errors import InvalidRequestError
from tt_compute.types import Message
from tt_compute.verify.base import Answer, Judgement
from tt_compute.verify.killable import KillableProcess
from tt_compute.verify.marks import visible
from tt_compute.verify.schema_rules import refuse_unknown

__all__ = ["JsonSchemaVerifier", "RegexVerifier", "TextProcess"]


class TextProcess(KillableProcess):
    """Matches patterns and checks documents in a child process, whose regular expressions may run away.

    Args:
        timeout_s: Most seconds for one text.
    """

    def __init__(self, *, timeout_s: float = 2.0) -> None:
        command = (sys.executable, "-P", "-m", "tt_compute.verify.text_worker")
        super().__init__("the text checker", command, timeout_s=timeout_s)


class RegexVerifier:
    r"""Accepts texts in which a pattern is found; reasoning in think tags is not part of the text.

    Args:
        pattern: In Python's syntax; ``(?s)``, ``\A`` and their like as usual.
        process: Where it is matched; closed by its owner.

    Raises:
        InvalidRequestError: The pattern cannot be compiled.
    """

    name = "regex"
    accepts_at: float = 1.0

    def __init__(self, pattern: str, process: TextProcess) -> None:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidRequestError(f"{pattern[:80]!r} is no pattern: {error}") from error
        self._pattern = pattern
        self._process = process

    async def judge(
        self,
        messages: Sequence[Message],  # noqa: ARG002 - the protocol's
        text: str,
        answer: Answer | None,  # noqa: ARG002 - the protocol's
    ) -> Judgement:
        """1.0 where it is found, else 0.0.

        Raises:
            VerifierError: It took too long.
        """
        request = {"pattern": self._pattern, "text": visible(text)}
        found = await self._process.ask(request, f"the pattern {self._pattern[:80]!r}")
        return Judgement(score=1.0 if found else 0.0)


class JsonSchemaVerifier:
    """Accepts JSON documents that satisfy a schema.

    Args:
        schema: See ``schema.KEYWORDS`` for what is checked; a keyword that is not is refused.
        process: Where documents are checked; closed by its owner.

    Raises:
        InvalidRequestError: The schema holds what is not checked here.
    """

    name = "json-schema"
    accepts_at: float = 1.0

    def __init__(self, schema: dict[str, Any], process: TextProcess) -> None:
        refuse_unknown(schema)
        self._schema = schema
        self._process = process

    async def judge(
        self,
        messages: Sequence[Message],  # noqa: ARG002 - the protocol's
        text: str,  # noqa: ARG002 - the protocol's
        answer: Answer | None,
    ) -> Judgement:
        """1.0 for a document that satisfies the schema, 0.0 for another one or none.

        Raises:
            VerifierError: It took too long.
        """
        if answer is None:
            return Judgement(score=0.0)
        request = {"schema": self._schema, "document": answer.text}
        satisfied = await self._process.ask(request, "the JSON schema")
        return Judgement(score=1.0 if satisfied else 0.0)
