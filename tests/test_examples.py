"""Every example runs, and stays short."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "transformers" in path.read_text():
        pytest.importorskip("transformers")
    runpy.run_path(str(path), run_name="__main__")
    float(capsys.readouterr().out.split()[-2 if "points" in path.read_text() else -1])
    assert len(path.read_text().splitlines()) < 60


def test_the_notebook(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All cells run, and the committed notebook is small and has its outputs."""
    from matplotlib import pyplot

    path = FOLDER / "forget_a_digit.ipynb"
    assert path.stat().st_size < 100_000
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    monkeypatch.setattr(pyplot, "show", pyplot.close)
    names: dict[str, object] = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
    last = [line.split(" gap ")[0] for line in cells[-1]["outputs"][0]["text"]]
    assert [line.split(" gap ")[0] for line in capsys.readouterr().out.splitlines()] == last
