"""Tables follow from their records; checked on invented records with known answers."""

from __future__ import annotations

import csv
import io
import math

import pytest
from bench.rows import FLOOR, GAPS, record
from matplotlib.colors import to_hex
from scipy import stats

from coun.bench.output import figures, render
from coun.bench.output.tables import result_tables
from coun.bench.spec.plan import make_plan
from coun.bench.spec.reading import parse
from coun.metrics import GAP_METRICS
from coun.report import Section
from coun.report.style import method_style


@pytest.fixture
def results() -> dict:
    rows = []
    for seed in range(4):
        rows += [record("Retrain", seed, 0.0, "Retrain")]
        rows += [record("Retrain again", seed, FLOOR[seed], "Retrain again")]
        rows += [record(name, seed, gaps[seed]) for name, gaps in GAPS.items()]
    return {"rows": rows, "config": {"metrics": list(GAP_METRICS)}}


def text(tables) -> str:
    return "".join(
        render.markdown(Section(t.title, render.summary(t), render.grids(t))) for t in tables
    )


def test_the_best_is_marked_and_the_others_are_tested_against_it(results) -> None:
    (table,) = result_tables(results)
    rows = {row.name: row for row in table.rows}
    assert rows["NoT + CL"].best
    assert [x.name for x in table.rows if x.tied] == ["CoUn"]
    raw = {
        name: stats.ttest_rel(gaps, GAPS["NoT + CL"]).pvalue
        for name, gaps in GAPS.items()
        if name != "NoT + CL"
    }
    smallest = min(raw, key=raw.get)
    assert rows[smallest].p == pytest.approx(4 * raw[smallest])
    assert rows["CoUn"].p == pytest.approx(raw["CoUn"])
    assert math.isnan(rows["Retrain again"].p)
    assert table.floor == pytest.approx(1.0)


def test_the_gap_of_means_is_computed_as_in_the_paper(results) -> None:
    (table,) = result_tables(results)
    row = next(x for x in table.rows if x.name == "FT")
    assert row.gap.mean == pytest.approx(5.125)
    assert row.gap_of_means == pytest.approx(abs(4 - 5 + 6 - 5.5) / 4)


def test_each_method_is_tested_without_and_with_the_module(results) -> None:
    (table,) = result_tables(results)
    tests = {test.base: test for test in table.module}
    assert set(tests) == {"FT / CoUn", "NoT / NoT + CL"}
    p = stats.ttest_rel(GAPS["FT"], GAPS["CoUn"]).pvalue
    assert tests["FT / CoUn"].p == pytest.approx(p)
    assert all(test.corrected >= test.p for test in table.module)


def test_a_module_of_weight_0_does_not_count_as_the_module(tiny_text) -> None:
    more = """
[[method]]
name = "coun"
label = "FT (both)"
settings = { epochs = 1, weight = 0.0, second_view_labels = 1.0 }

[[method]]
name = "not"
settings = { epochs = 1 }
contrast = { weight = 0.0, second_view_labels = 1.0 }
"""
    models = make_plan(parse(tiny_text(more=more))).models
    assert {model.row for model in models if model.module} == {"CoUn"}


def test_of_two_rowsof_a_method_the_module_is_tested_on_the_one_of_its_name(results) -> None:
    for name, module in (("NoT few", False), ("NoT few + CL", True)):
        results["rows"] += [record(name, s, 2.0 + s, method="not", module=module) for s in range(4)]
    (table,) = result_tables(results)
    assert {test.base for test in table.module} == {
        "FT / CoUn",
        "NoT / NoT + CL",
        "NoT few / NoT few + CL",
    }


def test_the_cheapest_method_within_a_number_of_floors(results) -> None:
    (table,) = result_tables(results)
    assert table.cheapest(1.0) is None
    near = table.cheapest(1.5)
    assert near is not None
    assert near.name in ("NoT + CL", "CoUn")
    assert "cheapest within 1.0 floors: none" in render.summary(table)


def test_cost_to_quality_takes_the_cheapest_variant_of_each_method(results) -> None:
    for cost, gap in ((0.05, 3.0), (0.1, 0.9), (0.3, 0.5)):
        more = {"base": "CoUn", "varied": {"epochs": cost}, "flops_ratio": cost}
        results["rows"] += [record(f"CoUn {cost}", s, gap, **more) for s in range(4)]
    (table,) = result_tables(results)
    reached = dict(table.cost_to_quality)
    assert [x and x.costs["flops_ratio"] for x in reached["CoUn"]] == [0.1, 0.1, 0.05]
    assert [x and x.name for x in reached["NoT + CL"]] == [None, "NoT + CL", "NoT + CL"]
    assert reached["FT"] == [None, None, None]
    assert "| NoT + CL | never | 0.400 FLOPs, 0.400 s (NoT + CL) |" in text([table])
    assert "| all others | never | never | never |" in text([table])


def test_one_line_says_that_no_method_comes_near_retrain(results) -> None:
    rows = [{**r, "gap": 100 * r["gap"]} if r["role"] == "method" else r for r in results["rows"]]
    assert "| all | never | never | never |" in text(result_tables({**results, "rows": rows}))


def test_every_format_marks_the_best_and_the_methods_that_read_forget_data(results) -> None:
    tables = result_tables(results)
    markdown = text(tables)
    assert "| **NoT + CL** | no |" in markdown
    assert "| NegGrad | yes |" in markdown
    assert markdown.count("†") == 1
    assert "| CoUn † | no |" in markdown
    tex = render.latex(tables)
    assert r"\mathbf{1.20 \pm 0.18}" in tex
    assert r"\underline{$1.23 \pm 0.05$}" in tex
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == 1
    assert "NegGrad$^{f}$" in tex
    assert "random 10\\%" in tex
    rows = list(csv.DictReader(io.StringIO(render.as_csv(tables))))
    assert len(rows) == 7
    ft = next(r for r in rows if r["row"] == "FT")
    assert float(ft["gap_mean"]) == pytest.approx(5.125)
    assert float(ft["gap_high"]) > 5.125


def test_one_seed_gives_neither_tests_nor_intervals(results) -> None:
    results["rows"] = [r for r in results["rows"] if r["seed"] == 0]
    (table,) = result_tables(results)
    assert not table.ranks
    assert not any(row.tied for row in table.rows)
    assert ".." not in text([table])
    assert "nan" not in text([table]) + render.latex([table]) + render.as_csv([table])


def test_methods_that_agree_on_every_seed_are_tied(results) -> None:
    results["rows"] += [record("twin", s, gap) for s, gap in enumerate(GAPS["NoT + CL"])]
    (table,) = result_tables(results)
    twin = next(x for x in table.rows if x.name == "twin")
    assert twin.p == 1
    assert twin.tied


def test_costs_before_the_request_have_their_own_columns(results) -> None:
    assert "FLOPs before" not in text(result_tables(results))
    paid = {"preparation_flops": 3e12, "preparation_flops_ratio": 3.0, "preparation_seconds": 31.0}
    results["rows"] += [record("SISA", s, 2.0, flops_ratio=0.5, **paid) for s in range(4)]
    (table,) = result_tables(results)
    grid = render.costs_grid(table)
    by = {texts[0]: dict(zip(grid.header, texts, strict=True)) for _, texts in grid.rows}
    assert by["SISA"]["FLOPs"] == "0.500"
    assert (by["SISA"]["FLOPs before"], by["SISA"]["s before"]) == ("3.000", "31.0")
    assert by["FT"]["FLOPs before"] == "0.000"
    rows = list(csv.DictReader(io.StringIO(render.as_csv([table]))))
    assert float(rows[-1]["preparation_flops"]) == 3e12


def test_a_method_has_the_same_style_in_every_picture(results) -> None:
    (table,) = result_tables(results)
    bars = figures.gap_bars(table).axes[0]
    points = figures.gap_against_cost(table).axes[0]
    names = [label.get_text() for label in bars.get_yticklabels()]
    pictures = {c.get_label().removesuffix(" (f)"): c.lines[0] for c in points.containers}
    assert set(names) == set(pictures) == set(GAPS)
    for name, bar in zip(names, bars.patches, strict=True):
        assert to_hex(bar.get_facecolor()) == to_hex(method_style(name).colour)
        assert bar.get_hatch() == method_style(name).hatch
        assert to_hex(pictures[name].get_color()) == to_hex(method_style(name).colour)
        assert pictures[name].get_marker() == method_style(name).marker
    assert [len(row.get_xdata()) for row in bars.lines].count(4) == len(GAPS)  # one dot per seed


def test_a_method_without_some_seeds_is_tested_on_the_others(results) -> None:
    results["rows"] = [r for r in results["rows"] if (r["row"], r["seed"]) != ("FT", 3)]
    (table,) = result_tables(results)
    test = next(t for t in table.module if t.base == "FT / CoUn")
    assert test.p == pytest.approx(stats.ttest_rel(GAPS["FT"][:3], GAPS["CoUn"][:3]).pvalue)


def test_every_picture_can_be_drawn(results) -> None:
    later = [{**r, "stage": 2} for r in results["rows"]]
    varied = [
        record(f"CoUn weight={w}", s, 1.0 + w, varied={"weight": w}, base="CoUn", method="coun")
        for w in (0.1, 1.0, 6.0)
        for s in range(4)
    ]
    tables = result_tables(
        {**results, "rows": results["rows"] + later + [{**r, "stage": 2} for r in varied]}
    )
    last = tables[-1]
    assert not tables[0].last
    assert figures.ablations(last) == [("CoUn", "weight")]
    pictures = [
        figures.gap_bars(last),
        figures.gap_against_cost(last),
        figures.ranks(last),
        figures.stage_curves(tables),
        figures.ablation_curve(last, "CoUn", "weight"),
    ]
    assert all(figure.axes for figure in pictures)
    assert pictures[-1].axes[0].get_xscale() == "log"
