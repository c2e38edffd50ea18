"""Results are read back as they were written, also those of version 0.1."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

import coun
from coun.bench import report
from coun.bench.output.reporting import refuse_other_reports
from coun.bench.output.results import read
from coun.bench.output.tables import result_tables

PUBLISHED = Path(__file__).parents[3] / "docs" / "results" / "cpu-cifar10"


def test_the_report_of_published_results_has_the_published_numbers(tmp_path: Path) -> None:
    """`docs/results/cpu-cifar10/results.json` was written by version 0.1."""
    shutil.copy(PUBLISHED / "results.json", tmp_path)
    report(tmp_path)
    for folder in (tmp_path, PUBLISHED):  # both are recognised as reports, and may be replaced
        refuse_other_reports(folder)
    published, made = (
        list(csv.DictReader((folder / "report.csv").open(encoding="utf-8")))
        for folder in (PUBLISHED, tmp_path)
    )
    assert len(published) == len(made) == 25
    for row, expected in zip(made, published, strict=True):
        assert row.pop("bytes_sent") == ""  # a column of federations, which came later
        assert row.keys() == expected.keys()
        assert numbers(row) == pytest.approx(numbers(expected), nan_ok=True)


@pytest.mark.parametrize("name", ["report.md", "report.tex", "report.csv", "report.html"])
def test_a_file_that_is_no_report_is_not_overwritten(tmp_path: Path, name: str) -> None:
    shutil.copy(PUBLISHED / "results.json", tmp_path)
    for content in (b"my notes: 3 models, workload, seeds", b"\xff\xfe"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(coun.CounError, match=f"{name} exists and is not an earlier report"):
            report(tmp_path)
        assert (tmp_path / name).read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 2


def numbers(row: dict[str, str]) -> list[float]:
    """The columns from `runs` on, but for `best`; an empty cell is NaN."""
    return [float(text or "nan") for name, text in list(row.items())[7:] if name != "smallest"]


def test_results_of_version_0_1_get_the_names_of_today() -> None:
    assert json.loads((PUBLISHED / "results.json").read_text())["rows"][0]["bed"]
    results = read(PUBLISHED)
    record = results["rows"][0]
    assert record["workload"] == "CIFAR-10 resnet8"
    assert {"preparation_flops", "preparation_seconds", "preparation_flops_ratio"} <= set(record)
    assert result_tables(results)[0].title == "CIFAR-10 resnet8, random 10%"


def test_results_of_an_unknown_format_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"format": 99}')
    with pytest.raises(coun.CounError, match=r"is not a bench result of format 3; run coun bench"):
        read(tmp_path)
