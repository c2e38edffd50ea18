"""The demonstration: both parts, one page."""

from __future__ import annotations

import datetime
import platform
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coun.demo import digit, mistake
from coun.demo.digit import ForgottenDigit
from coun.demo.mistake import Mistake
from coun.demo.two_cores import side_by_side
from coun.engine.progress_bar import ProgressBar
from coun.files import expanded, refuse_foreign, write_json, write_text
from coun.report import Grid
from coun.report.html import render
from coun.runs.folder import refuse_inside_run

STEPS = 19  # how often the two parts call `tick`
FAST_STEPS = 15
MARK = "mistake/digits.npz"


@dataclass(frozen=True)
class Story:
    """The two parts of the demonstration, and where its page is.

    >>> from dataclasses import fields
    >>> [field.name for field in fields(Story)]
    ['mistake', 'digit', 'page']
    """

    mistake: Mistake
    digit: ForgottenDigit
    page: Path

    def to_json(self) -> dict[str, Any]:
        """All numbers of both parts."""
        return {"mistake": self.mistake.to_json(), "digit": self.digit.results}


def demo(
    out: str | Path, *, fast: bool = False, progress: bool = False, processes: int = 1
) -> Story:
    """Tell how wrong labels and a whole digit are forgotten, and write a page about it.

    Args:
        out: a folder. `report.html` and `results.json` are written to it, the runs, the registry
            and the audit beside them. A repeated call continues an interrupted one.
        fast: few epochs and Retrains, to see that everything works; the numbers mean little.
        progress: show a progress bar on standard error.
        processes: 2 lets the two parts run beside each other. As for all uses of
            `multiprocessing`, the calling script must then have an `if __name__ == "__main__":`.

    Raises: CounError if *out* holds files of something else.

    >>> story = demo("out/demo", fast=True)  # doctest: +SKIP
    >>> story.page.name  # doctest: +SKIP
    'report.html'
    """
    out, began = expanded(out), time.monotonic()
    refuse_foreign(out, MARK, "results.json")
    refuse_inside_run(out)
    out.mkdir(parents=True, exist_ok=True)
    done = 0
    with ProgressBar("demo", visible=progress) as bar:

        def tick(note: str) -> None:
            nonlocal done
            bar.show(done, FAST_STEPS if fast else STEPS, note)
            done += 1

        def first(tick: mistake.Tick) -> Mistake:
            return mistake.tell(out / "mistake", fast=fast, tick=tick)

        if processes > 1:
            second = {"folder": out / "digit", "fast": fast}
            parts = side_by_side(first, digit.tell, second, tick)
        else:
            parts = first(tick), digit.tell(out / "digit", fast=fast, tick=tick)
        tick("page")
        story = Story(*parts, out / "report.html")
        write_json(out / "results.json", story.to_json())
        write_text(story.page, _page(story, fast, time.monotonic() - began))
    return story


def _page(story: Story, fast: bool, seconds: float) -> str:
    return render(
        "demo.html",
        mistake=story.mistake,
        digit=story.digit,
        table=replace(
            Grid.of_runs(story.digit.rows, percent_digits=1),
            caption=f"Forgetting the digit {digit.DIGIT}, one seed",
        ),
        models=mistake.MODELS,
        shown=mistake.TRUE,
        wrong=mistake.WRONG,
        forgotten=digit.DIGIT,
        fast=fast,
        made=f"Made by coun demo in {seconds:.0f} s on {platform.machine()}, "
        f"{datetime.date.today().isoformat()}.",
    )
