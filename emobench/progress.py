"""Progress on standard error: bars with rate and time left in a terminal, nothing but notes elsewhere."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress:
    """Reports to the person who waits; a silent one for tests and library use is ``Progress(quiet=True)``."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line that also shows where standard error is no terminal."""
        if not self.quiet:
            self.console.print(text, markup=False)

    @contextmanager
    def task(self, label: str, total: float, unit: str = "") -> Iterator[Callable[[float], None]]:
        """A bar; call what it yields with how much more is done."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda amount: None
            return
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        ]
        with Bars(*columns, console=self.console, transient=True) as bars:
            task_id = bars.add_task(label, total=total, rate="")

            def advance(amount: float) -> None:
                bars.advance(task_id, amount)
                speed = bars.tasks[0].finished_speed or bars.tasks[0].speed
                bars.update(task_id, rate=f"{speed:.1f}{unit}/s" if speed else "")

            yield advance


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Without the loaders' own progress bars and notes: emobench reports progress itself."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # the GGUF reader's bar heeds no switch
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
