"""Importing and drawing change nothing in the process of the user."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import json, sys
import coun.report, coun.report.figures, coun.attacks, coun.metrics
early = [name for name in ("matplotlib", "sklearn", "jinja2") if name in sys.modules]
import matplotlib
matplotlib.rcParams["backend"] = "svg"
matplotlib.rcParams["font.size"] = 17
before = dict(matplotlib.rcParams)
rows = coun.report.tabulate({"FT": [{"average_gap": 1.0}]})
picture = coun.report.Picture(coun.report.figures.gaps(rows, 0.5), "caption")
assert picture.data
after = dict(matplotlib.rcParams)
changed = [key for key in before if before[key] != after[key]]
print(json.dumps([early, changed, "matplotlib.pyplot" in sys.modules]))
"""


def test_figures_leave_matplotlib_as_it_was() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    early, changed, pyplot = json.loads(done.stdout)
    assert early == []
    assert changed == []
    assert not pyplot
