"""Tree of thoughts: deliberate search over thoughts that the user's own functions propose and evaluate.

Yao et al. 2023, https://arxiv.org/abs/2305.10601, section 3, algorithms 1 and 2.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.results import StopReason
from tt_compute.strategies.base import Needs, Outcome, Run
from tt_compute.strategies.callbacks import Model, together
from tt_compute.strategies.deadline import before_deadline
from tt_compute.strategies.drawing import Drawer
from tt_compute.strategies.settings import check_numbers
from tt_compute.strategies.verdicts import Bench
from tt_compute.verify.base import Answer

__all__ = ["Evaluate", "Propose", "Thoughts", "TreeOfThought"]


class Thoughts(msgspec.Struct, frozen=True, kw_only=True):
    """A state of the search: the prompt and the thoughts so far."""

    prompt: str
    """The last user message."""
    thoughts: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The thoughts, a line each."""
        return "\n".join(self.thoughts)

    def then(self, thought: str) -> Thoughts:
        return msgspec.structs.replace(self, thoughts=(*self.thoughts, thought))


Propose = Callable[[Thoughts, Model], Iterable[str] | Awaitable[Iterable[str]]]
"""Next thoughts of a state; none = it is a dead end."""
Evaluate = Callable[[Thoughts, Model], float | Awaitable[float]]
"""How promising a state is, higher is better; called once for each state."""


class TreeOfThought(msgspec.Struct, frozen=True, kw_only=True):
    """Searches for a chain of ``depth`` thoughts.

    ``bfs`` keeps the ``breadth`` best states of each level and answers with the best of the last level.
    ``dfs`` goes down the most promising thought first, never into a state whose value is not above
    ``threshold``, and turns back at dead ends. The first chain ends it. With a verifier in the run,
    chains are judged instead, and either search goes on until one is accepted.

    Plain functions run in worker threads. An ``async`` one may ask the model: ``await model.ask(prompt, n)``.
    Both are called for several states at a time.

    Raises:
        InvalidRequestError: A value is out of range.
    """

    propose: Propose
    evaluate: Evaluate
    search: Literal["bfs", "dfs"] = "bfs"
    depth: int = 3
    """T: thoughts of a whole chain."""
    breadth: int = 5
    """b: states that ``bfs`` keeps of each level."""
    threshold: float = 0.0
    """v_th: states that are not above it are given up by ``dfs``."""
    max_states: int = 1000
    """Most states that are evaluated, so that a search that asks no model ends too."""

    def __post_init__(self) -> None:
        """Refuse what no search could use."""
        check_numbers(self)
        for name in ("depth", "breadth", "max_states"):
            if getattr(self, name) < 1:
                raise InvalidRequestError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.search not in ("bfs", "dfs"):
            raise InvalidRequestError(f"search must be 'bfs' or 'dfs', got {self.search!r}")

    @property
    def name(self) -> str:
        return "tree_of_thought"

    @property
    def needs(self) -> Needs:
        """Nothing of a deployment."""
        return Needs(unforeseen="what its functions ask the model is unknown")

    async def run(self, run: Run) -> Outcome:
        """Search until a chain is found, nothing is left to search or the deadline has passed.

        Raises:
            UsageError: No further prompts can be asked, or one of the functions raised.
            TTComputeError: Every sample failed, and no thought came from elsewhere.
        """
        tree = _Tree(run, self)
        search = tree.breadth_first if self.search == "bfs" else tree.depth_first
        await before_deadline(run, search)
        return tree.outcome()


class _Node(msgspec.Struct, frozen=True, kw_only=True):
    state: Thoughts
    value: float
    number: int
    """Which of all states; breaks ties."""

    @property
    def rank(self) -> tuple[int, float, int]:
        """The best one first: deeper, then better, then earlier."""
        return (-len(self.state.thoughts), -self.value, self.number)


class _Tree:
    def __init__(self, run: Run, settings: TreeOfThought) -> None:
        self._run = run
        self._settings = settings
        self._drawer = Drawer(run)
        self._model = Model(run, self._drawer)
        self._bench = None if run.verifier is None else Bench(run, self._drawer, run.verifier)
        self._evaluated = 0
        self._best: _Node | None = None
        self._judged: dict[int, float] = {}
        self._found = False
        """A chain ended the search."""

    async def breadth_first(self) -> None:
        level = [self._root()]
        while level and not self._found and self._drawer.over() != "deadline":
            children = sorted(await self._children(level), key=lambda node: node.rank)
            level = children[: self._settings.breadth]
            if level and self._whole(level[0]):
                await self._judge(level)
                return

    async def depth_first(self) -> None:
        waiting = [self._root()]
        while waiting and not self._found and self._drawer.over() != "deadline":
            node = waiting.pop()
            if self._whole(node):
                await self._judge([node])
                continue
            children = await self._children([node])
            promising = [one for one in children if one.value > self._settings.threshold]
            waiting.extend(sorted(promising, key=lambda node: node.rank, reverse=True))

    def outcome(self) -> Outcome:
        best, whole = self._best, False
        text = "" if best is None else best.state.text
        if best is None:
            self._drawer.raise_if_nothing_came()
        else:
            whole = self._whole(best)
        answer: Answer | None = self._run.task.extract(text, truncated=not whole) if text else None
        return Outcome(
            answer=answer,
            text=text,
            winner=None,
            stop_reason=self._reason(),
            stop_posterior=None,
            ended=self._drawer.by_index(),
            verifier_tokens=self._drawer.verifier_tokens,
            warnings=self._drawer.warnings(),
        )

    def _reason(self) -> StopReason:
        if self._found:
            return "settled" if self._bench is None else "verifier"
        return "deadline" if self._drawer.over() == "deadline" else "budget"

    def _root(self) -> _Node:
        prompts = [message.text for message in self._run.messages if message.role == "user"]
        return _Node(state=Thoughts(prompt=prompts[-1] if prompts else ""), value=0.0, number=-1)

    def _whole(self, node: _Node) -> bool:
        return len(node.state.thoughts) == self._settings.depth

    async def _children(self, nodes: list[_Node]) -> list[_Node]:
        """The next states, each with its value, in the order of their proposals."""
        proposals = await together(
            self._settings.propose, [node.state for node in nodes], self._model, "propose"
        )
        states = [
            node.state.then(str(thought))
            for node, thoughts in zip(nodes, proposals, strict=True)
            for thought in dict.fromkeys(thoughts)
        ][: self._settings.max_states - self._evaluated]
        values = await together(self._settings.evaluate, states, self._model, "evaluate")
        children = [
            _Node(state=state, value=_value(value), number=self._evaluated + place)
            for place, (state, value) in enumerate(zip(states, values, strict=True))
        ]
        self._evaluated += len(children)
        self._best = min(
            [*children, *([self._best] if self._best else [])],
            key=lambda node: node.rank,
            default=None,
        )
        return children

    async def _judge(self, chains: list[_Node]) -> None:
        """Whole chains: the first one is found, or those that the verifier accepts are."""
        if self._bench is None:
            self._best, self._found = chains[0], True
            return
        answers = [self._run.task.extract(one.state.text, truncated=False) for one in chains]
        texts = [one.state.text for one in chains]
        verdicts = await self._bench.judge_all(list(zip(texts, answers, strict=True)))
        for chain, verdict in zip(chains, verdicts, strict=True):
            best = max(self._judged.values(), default=-math.inf)
            if verdict is not None:
                self._judged[chain.number] = verdict.score
                self._best = chain if verdict.score > best else self._best
            if self._bench.accepts(verdict):
                self._found = True
                return


def _value(value: float) -> float:
    number = float(value)
    if math.isnan(number):
        raise InvalidRequestError("evaluate returned NaN for a state")
    return number
