"""The live part of a terminal, event by event."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tt_compute.cli.screen import Screen
from tt_compute.cli.shared import Output
from tt_compute.planning.types import Candidate, Prediction
from tt_compute.results import Progress, Revision, SampleRecord, TextDelta


def candidate(max_samples: int) -> Candidate:
    return Candidate(
        deployment="local/small",
        backend="openvino",
        model="small-model",
        strategy="single" if max_samples == 1 else "majority",
        stop_rule=None if max_samples == 1 else "beta",
        max_samples=max_samples,
        wave=min(4, max_samples),
        feasible=True,
        violates=(),
        predicted=Prediction(),
    )


def progress(plan: Candidate, drawn: int, ended: int = 0) -> Progress:
    finished = tuple(
        SampleRecord(
            index=index,
            deployment=plan.deployment,
            answer=str(index),
            text=f"The answer is {index}.",
            finish_reason="stop",
            output_tokens=5,
        )
        for index in range(ended)
    )
    return Progress(plan=plan, drawn=drawn, live=drawn - ended, finished=finished)


class Terminal:
    """A screen on a terminal of 80 columns and 24 rows whose contents can be read."""

    def __init__(self, *, as_json: bool = False, is_terminal: bool = True) -> None:
        self.file = io.StringIO()
        self._output = Output(as_json=as_json, config=None)
        self.console = Console(
            file=self.file,
            force_terminal=is_terminal,
            width=80,
            height=24,
            color_system=None,
            _environ={},
        )
        self._output.err = self.console
        self.screen = Screen(self._output)

    @property
    def shown(self) -> str:
        return self.file.getvalue()

    def look(self) -> str:
        """The live part as it is now."""
        with self.console.capture() as capture:
            self.console.print(self.screen.render())
        return capture.get()


def test_the_plan_comes_first_and_loading_until_the_first_sample() -> None:
    terminal = Terminal()
    with terminal.screen as screen:
        screen.show(progress(candidate(16), drawn=0))
        assert "local/small" in terminal.shown
        assert "majority of up to 16, 4 at once" in terminal.shown
        assert "loading small-model (openvino)" in terminal.look()
        screen.show(progress(candidate(16), drawn=4))
        assert "loading" not in terminal.look()
        assert "4 drawn, 0 ended, 4 running" in terminal.look()
    assert "4 drawn, 0 ended, 4 running" in terminal.shown


def test_a_run_without_samples_leaves_the_plan_alone() -> None:
    """An error follows; a spinner that goes on would deny it."""
    terminal = Terminal()
    with terminal.screen as screen:
        screen.show(progress(candidate(16), drawn=0))
    assert terminal.shown.count("\x1b[?25h") == terminal.shown.count("\x1b[?25l") == 1
    assert "running" not in terminal.shown


@pytest.mark.parametrize("ended", [0, 5, 100])
def test_the_live_part_fits_on_the_terminal(ended: int) -> None:
    terminal = Terminal()
    with terminal.screen as screen:
        screen.show(progress(candidate(128), drawn=100, ended=ended))
        lines = terminal.look().splitlines()
    assert len(lines) <= 24
    assert all(len(line) <= 80 for line in lines)
    if ended:
        assert f"#{ended - 1}" in lines[-2]


def test_the_text_of_the_only_sample_runs_along() -> None:
    terminal = Terminal()
    with terminal.screen as screen:
        screen.show(progress(candidate(1), drawn=1))
        screen.show(TextDelta(text="The sea \x1b[31mis"))
        screen.show(TextDelta(text=" wide"))
        assert "The sea \N{REPLACEMENT CHARACTER}[31mis wide" in terminal.look()
        screen.show(Revision(text="No, it is deep."))
        assert "The sea" not in terminal.look()
        assert "No, it is deep." in terminal.look()


def test_of_several_samples_no_text_runs_along() -> None:
    terminal = Terminal()
    with terminal.screen as screen:
        screen.show(progress(candidate(16), drawn=4))
        screen.show(TextDelta(text="The sea"))
        assert "The sea" not in terminal.look()


def test_a_download_shows_a_bar_on_a_terminal() -> None:
    terminal = Terminal()
    with terminal.screen as screen:
        screen.download("download [it]", 0, None)
        screen.download("download [it]", 50_000_000, 100_000_000)
        assert "download [it]" in terminal.look()
        assert "50.0/100.0 MB" in terminal.look()


@pytest.mark.parametrize("as_json", [True, False])
def test_elsewhere_only_the_phases_of_a_download_are_told(as_json: bool) -> None:
    terminal = Terminal(as_json=as_json, is_terminal=False)
    with terminal.screen as screen:
        screen.show(progress(candidate(16), drawn=0))
        for done in range(0, 100, 10):
            screen.download("download it", done, 100)
        screen.download("check", 100, 100)
    assert terminal.shown == "download it ...\ncheck ...\n"
