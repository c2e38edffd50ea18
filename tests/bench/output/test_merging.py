"""Results that were measured in parts are those of one run that measured everything."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import coun
from coun.bench import merge, report
from coun.bench.output.results import read, save

PUBLISHED = Path(__file__).parents[3] / "docs" / "results" / "cpu-cifar10-matching"
Document = dict[str, Any]


def part(out: Path, keep: Callable[[Document], bool], change: Callable[[Document], None]) -> Path:
    """A folder with those published records that *keep* names, after *change*."""
    document = {key: value for key, value in read(PUBLISHED).items() if key != "sha256"}
    document = copy.deepcopy(document)
    document["rows"] = [row for row in document["rows"] if keep(row)]
    document["planned"] = len(document["rows"])
    change(document)
    out.mkdir()
    save(document, out)
    return out


def unchanged(document: Document) -> None:
    """The part as it was published."""


def by_row(document: Document) -> dict[tuple[str, int], Document]:
    return {(row["row"], row["seed"]): row for row in document["rows"]}


def test_seeds_of_several_folders_give_the_report_of_one_run(tmp_path: Path) -> None:
    folders = [
        part(tmp_path / str(seed), lambda row, seed=seed: row["seed"] == seed, unchanged)
        for seed in range(5)
    ]
    merged = merge(folders, tmp_path / "all")
    whole = read(PUBLISHED)
    assert by_row(merged) == by_row(whole)
    assert merged["planned"] == 65
    assert [origin["seeds"] for origin in merged["merged"]] == [[0], [1], [2], [3], [4]]
    report(tmp_path / "all")
    text = (tmp_path / "all" / "report.md").read_text()
    assert text == (PUBLISHED / "report.md").read_text()


def test_a_merge_in_two_steps_gives_the_same_rows(tmp_path: Path) -> None:
    first, second, third = (
        part(tmp_path / str(s), lambda row, s=s: row["seed"] == s, unchanged) for s in range(3)
    )
    once = merge([first, second, third], tmp_path / "once")
    merge([first, second], tmp_path / "pair")
    twice = merge([tmp_path / "pair", third], tmp_path / "twice")
    assert twice["rows"] == once["rows"]
    assert twice["merged"] == once["merged"]


def test_a_model_of_both_parts_counts_once(tmp_path: Path) -> None:
    one = part(tmp_path / "one", lambda row: row["row"] != "CoUn", unchanged)
    other = part(tmp_path / "other", lambda row: row["row"] != "FT", unchanged)
    merged = merge([one, other], tmp_path / "both")
    assert len(merged["rows"]) == merged["planned"] == 65


def in_an_earlier_version(document: Document) -> None:
    document["config"]["data_root"] = ["data"]
    del document["config"]["workload"][0]["data"]["options"]


def test_parts_of_an_earlier_version_are_merged(tmp_path: Path) -> None:
    one = part(tmp_path / "one", lambda row: row["seed"] == 0, unchanged)
    two = part(tmp_path / "two", lambda row: row["seed"] == 1, in_an_earlier_version)
    assert len(merge([one, two], tmp_path / "both")["rows"]) == 26


def with_other_settings(document: Document) -> None:
    for row in document["rows"]:
        if row["row"] == "CoUn":
            row["settings"] = {**row["settings"], "epochs": 99}


def with_another_value(document: Document) -> None:
    for row in document["rows"]:
        if row["row"] == "FT":
            row["test_accuracy"] += 0.1


def with_another_retrain(document: Document) -> None:
    document["rows"] = [row for row in document["rows"] if row["row"] == "NoT"]
    for row in document["rows"]:
        row["gap_unlearn_accuracy"] += 0.1


def with_another_model(document: Document) -> None:
    document["config"]["workload"][0]["model"] = "vgg7"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_other_settings, "row 'CoUn' .* has other settings than in another folder; give"),
        (with_another_value, "row 'FT' .* test_accuracy = .* in another folder; expected all"),
        (with_another_retrain, "the Retrain of .*, seed 0, has unlearn_accuracy = .*; expected"),
        (with_another_model, "different values of 'workload' in their configs; expected results"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    tmp_path: Path, change: Callable[[Document], None], message: str
) -> None:
    one = part(tmp_path / "one", lambda row: row["row"] != "NoT", unchanged)
    other = part(tmp_path / "other", lambda row: True, change)
    with pytest.raises(coun.CounError, match=message):
        merge([one, other], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    one = part(tmp_path / "one", lambda row: row["seed"] == 0, unchanged)
    two = part(tmp_path / "two", lambda row: row["seed"] == 1, unchanged)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "config.toml").write_text("title = 'a bench'")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("mine")
    for out in (one, tmp_path / "bench", tmp_path / "notes"):
        before = sorted(path.name for path in out.iterdir())
        with pytest.raises(coun.CounError, match="expected a new folder"):
            merge([one, two], out)
        assert sorted(path.name for path in out.iterdir()) == before
    with pytest.raises(coun.CounError, match="found 1 folder to merge; expected two or more"):
        merge([one], tmp_path / "both")
    (tmp_path / "link").symlink_to(one)
    for again in (one, tmp_path / "link"):
        with pytest.raises(coun.CounError, match="a folder is named twice in .*; expected each"):
            merge([one, again], tmp_path / "both")
    assert not (tmp_path / "both").exists()
