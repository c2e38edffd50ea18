"""A progress bar on standard error, with loss, speed and time left."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressBar:
    """The bar of one long job; shown only if *visible* and standard error is a terminal."""

    def __init__(self, title: str, *, visible: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=(console := Console(stderr=True)),
            disable=not (visible and console.is_terminal),
            refresh_per_second=4,
        )
        self._job = self._progress.add_task(title, total=None, note="")

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, done: int, total: int, note: str = "") -> None:
        """Show *done* of *total* with a short *note*."""
        self._progress.update(self._job, completed=done, total=total, note=note)
