"""The tiny form of every shipped config can be planned, and the quickest run end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

import coun
from coun.bench import bench, load, make_plan, report, shipped
from coun.bench.output.results import CONFIG
from coun.bench.spec.config import Config
from coun.bench.spec.tiny import tiny
from coun.bench.spec.workload import check_request


@pytest.mark.parametrize("name", shipped())
def test_every_config_has_a_tiny_form_with_the_same_rows(name: str) -> None:
    whole, small = load(name), tiny(load(name))
    assert [m.title for m in small.method] == [m.title for m in whole.method]
    assert [w.name for w in small.workload] == [w.name for w in whole.workload]
    for workload in small.workload:
        assert workload.data.source.startswith(("rehearsal:", "digits"))
        for scenario in small.scenario:  # classes that requests name exist
            check_request(small, workload, scenario)
    assert Config.model_validate(small.model_dump()) == small


def test_a_tiny_bench_runs_without_its_data_and_is_not_mixed_with_the_whole_one(
    tmp_path: Path,
) -> None:
    results = bench("paper/table4", tmp_path, tiny=True, quiet=True)
    assert not results["failures"]
    assert len(results["rows"]) == results["planned"] == 2 * 5
    assert results["title"].endswith("(tiny)")
    assert results["rows"][0]["semantics"]["of"] == "truck"
    text = report(tmp_path, paper=True)[0].read_text()
    assert "truck: distance to the centroid of automobile | 0.90 |" in text
    assert (tmp_path / CONFIG).read_text().startswith("# coun bench --tiny\n")
    with pytest.raises(coun.CounError, match="holds another bench"):
        bench("paper/table4", tmp_path, quiet=True)
    again = bench(None, tmp_path, resume=True, quiet=True)
    assert again["title"] == results["title"]


def test_plan_and_run_refuse_classes_that_do_not_exist_also_without_data(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("COUN_DATA", "nowhere")
    text = (Path(coun.__file__).parent / "bench/configs/paper/table8.toml").read_text()
    config = tmp_path / "config.toml"
    config.write_text(text.replace('name = "truck"', 'name = "trukc"'))
    with pytest.raises(coun.CounError, match=r"unknown class 'trukc' \(did you mean 'truck'\?\)"):
        make_plan(load(config), allow_missing_data=True)
