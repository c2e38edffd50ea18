"""Tables follow from their records; checked on invented records with known answers."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from bench.rows import FLOOR, GAPS, record
from matplotlib.colors import to_hex
from scipy import stats

from coun.bench.output import figures, latex, render
from coun.bench.output.reporting import MARKS, _origin
from coun.bench.output.result_table import cautions_of
from coun.bench.output.results import _described
from coun.bench.output.tables import legend, result_tables
from coun.bench.spec.plan import make_plan
from coun.bench.spec.reading import parse
from coun.metrics import GAP_METRICS
from coun.metrics.selection import worse_than_best
from coun.report import Grid, Section
from coun.report.style import method_style


@pytest.fixture
def results() -> dict:
    return made(4)


def made(seeds: int) -> dict:
    """Records of so many seeds; from the fifth on they repeat with another second decimal."""
    rows = []
    for seed in range(seeds):
        shift = 0.01 * (seed // 4)
        rows += [record("Retrain", seed, 0.0, "Retrain")]
        rows += [record("Retrain again", seed, FLOOR[seed % 4], "Retrain again")]
        rows += [record(name, seed, gaps[seed % 4] + shift) for name, gaps in GAPS.items()]
    return {"rows": rows, "config": {"metrics": list(GAP_METRICS)}}


def text(tables) -> str:
    return "".join(
        render.markdown(Section(t.title, render.summary(t), render.grids(t))) for t in tables
    )


def test_a_method_is_called_worse_only_by_the_test_that_holds_after_selection() -> None:
    (table,) = result_tables(made(8))
    rows = {row.name: row for row in table.rows}
    assert rows["NoT + CL"].smallest
    gaps = {name: list(row.gaps.values()) for name, row in rows.items() if name in GAPS}
    expected = worse_than_best(gaps)
    assert {name: rows[name].p for name in GAPS} == pytest.approx(expected)
    assert min(expected.values()) >= 2**-7
    assert [x.name for x in table.rows if table.mark(x) == "best"] == ["NoT + CL"]
    assert [x.name for x in table.rows if table.mark(x) == "tied"] == ["CoUn"]
    assert {x.name for x in table.methods if x.is_worse} == {"FT", "NoT", "NegGrad"}
    assert "3 of the 5 methods are shown not to be the nearest" in render.summary(table)
    assert "besides the first, CoUn may be" in render.summary(table)
    assert math.isnan(rows["Retrain again"].p)
    assert table.floor == pytest.approx(1.0)
    assert cautions_of([table]) == []


def test_with_too_few_seeds_nothing_is_set_off_and_the_table_says_so(results) -> None:
    (table,) = result_tables(results)
    assert not any(table.mark(row) for row in table.rows)
    assert all(math.isnan(row.p) for row in table.rows)
    (text_,) = cautions_of([table])
    assert "4 seeds in common; the test of which method is nearest needs 6" in text_
    assert "resamples" not in render.summary(table)
    assert "too few seeds to test which method is nearest" in render.summary(table)
    assert "mathbf" not in latex.latex([table])
    assert "underline" not in latex.latex([table])
    assert "No method could be shown not to be the nearest" in latex.latex([table])


def test_a_table_that_must_not_be_believed_says_why() -> None:
    results = made(8)
    results["rows"] += [
        {**record("Original", seed, 30.0, "Original"), "retain_accuracy": 31.0} for seed in range(8)
    ]
    rows = [
        {**r, "gap": 1 + 0.1 * r["gap"]} if r["role"] == "method" else r for r in results["rows"]
    ]
    (table,) = result_tables({**results, "rows": rows})
    unfit, narrow = cautions_of([table])
    assert "only 31.0% of its own training rows" in unfit
    assert "two Retrains by 1.00" in narrow


def test_a_caution_that_holds_for_several_tables_is_said_once_with_the_values_of_each() -> None:
    first = made(4)["rows"]
    second = [row | {"scenario": "a class"} for row in first]
    for rows, fit in ((first, 31.0), (second, 42.5)):
        scenario = rows[0]["scenario"]
        fitted = record("Original", 0, 30.0, "Original") | {"retain_accuracy": fit}
        rows.append(fitted | {"scenario": scenario})
    cautions = cautions_of(result_tables(made(4) | {"rows": first + second}))
    assert len(cautions) == 2
    both = "digits net, random 10%; digits net, a class: "
    assert cautions[0].startswith(both + "the Original classifies only 31.0%, 42.5% of its own")
    assert cautions[1].startswith(both + "all methods have 4 seeds in common")


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
    assert "Cheapest method within 1.0 floors: none; within 1.5 and" in render.summary(table)
    results["rows"] = [r for r in results["rows"] if r["row"] in ("Retrain again", "FT", "NegGrad")]
    (far,) = result_tables(results)
    assert "Cheapest method within 1.0, 1.5 and 3.0 floors: none." in render.summary(far)


def test_the_interval_of_a_gap_is_the_t_interval_without_impossible_gaps(results) -> None:
    wide = [0.1, 0.1, 0.2, 3.0]
    results["rows"] += [record("SSD", seed, gap) for seed, gap in enumerate(wide)]
    (table,) = result_tables(results)
    rows = {row.name: row for row in table.rows}
    for name, gaps in (("SSD", wide), ("FT", GAPS["FT"])):
        low, high = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
        assert (rows[name].interval.low, rows[name].interval.high) == pytest.approx(
            (max(low, 0), high)
        )
    assert stats.ttest_1samp(wide, 0).confidence_interval(0.95).low < 0
    assert "0.00 to 3.13" in text([table])


def test_each_seed_of_the_module_is_drawn_and_their_mean_is_the_bar(results) -> None:
    (table,) = result_tables(results)
    axes = figures.improvements(table).axes[0]
    drawn = [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "o"]
    for test, circles, bar in zip(table.module, drawn, axes.patches, strict=True):
        plain, row = test.base.split(" / ")
        mean = sum(GAPS[plain]) / 4
        expected = [100 * (a - b) / mean for a, b in zip(GAPS[plain], GAPS[row], strict=True)]
        assert circles == pytest.approx(expected)
        assert (
            sum(circles) / 4 == pytest.approx(bar.get_height()) == pytest.approx(test.improvement)
        )
    axes.figure.draw_without_rendering()
    marks = [line.get_window_extent() for line in axes.lines if line.get_marker() == "o"]
    for label in axes.texts:
        assert not any(label.get_window_extent().overlaps(mark) for mark in marks)


def test_the_module_is_judged_on_the_seeds_that_both_rows_have(results) -> None:
    """A seed that only one row has would count as an effect of the module."""
    rows = results["rows"]
    results["rows"] = [r for r in rows if (r["row"], r["seed"]) != ("NoT + CL", 3)]
    (table,) = result_tables(results)
    test = next(test for test in table.module if test.base == "NoT / NoT + CL")
    assert test.without == pytest.approx(sum(GAPS["NoT"][:3]) / 3)
    assert test.with_module == pytest.approx(sum(GAPS["NoT + CL"][:3]) / 3)
    assert sum(test.by_seed) / 3 == pytest.approx(test.improvement)
    results["rows"] = [r for r in rows if (r["row"] == "NoT + CL") == (r["seed"] == 3)]
    (table,) = result_tables(results)
    assert "NoT / NoT + CL" not in [test.base for test in table.module]


def test_what_the_signs_and_words_of_a_table_mean_is_written_beside_it(results) -> None:
    (table,) = result_tables(results)
    for name, words in (("±", "standard deviation"), ("95% interval", "mean gap")):
        assert name in render.results_grid(table).note
        assert words in render.results_grid(table).note
    assert render.results_grid(table).note in text([table])


def test_cost_to_quality_takes_the_cheapest_variant_of_each_method(results) -> None:
    for cost, gap in ((0.05, 3.0), (0.1, 0.9), (0.3, 0.5)):
        more = {"base": "CoUn", "varied": {"epochs": cost}, "flops_ratio": cost}
        results["rows"] += [record(f"CoUn {cost}", s, gap, **more) for s in range(4)]
    (table,) = result_tables(results)
    reached = dict(table.cost_to_quality)
    assert [x and x.costs["flops_ratio"] for x in reached["CoUn"]] == [0.1, 0.1, 0.05]
    assert [x and x.name for x in reached["NoT + CL"]] == [None, "NoT + CL", "NoT + CL"]
    assert reached["FT"] == [None, None, None]
    assert "| NoT + CL | never | 0.400 (0.400) |" in text([table])
    assert "| all others | never | never | never |" in text([table])


def test_one_line_says_that_no_method_comes_near_retrain(results) -> None:
    rows = [{**r, "gap": 100 * r["gap"]} if r["role"] == "method" else r for r in results["rows"]]
    assert "| all | never | never | never |" in text(result_tables({**results, "rows": rows}))


def test_every_format_marks_the_best_and_the_methods_that_read_forget_data() -> None:
    tables = result_tables(made(8))
    markdown = text(tables)
    assert "| **NoT + CL** | no |" in markdown
    assert "| NegGrad | yes |" in markdown
    assert markdown.count("†") == 1
    assert "| CoUn † | no |" in markdown
    tex = latex.latex(tables)
    assert tex.count(r"\mathbf{") == tex.count(r"\underline{") == 1
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == 2  # results, and the module
    assert "NegGrad$^{f}$" in tex
    assert "random 10\\%" in tex
    rows = list(csv.DictReader(io.StringIO(render.as_csv(tables))))
    assert len(rows) == 7
    ft = next(r for r in rows if r["row"] == "FT")
    assert float(ft["gap_mean"]) == pytest.approx(5.13)
    assert float(ft["gap_high"]) > 5.13


def test_one_seed_gives_neither_tests_nor_intervals(results) -> None:
    results["rows"] = [r for r in results["rows"] if r["seed"] == 0]
    (table,) = result_tables(results)
    assert not table.ranks
    assert not any(table.mark(row) for row in table.rows)
    assert "\u00a0to\u00a0" not in text([table])
    assert "nan" not in text([table]) + latex.latex([table]) + render.as_csv([table])


def test_methods_that_agree_on_every_seed_may_both_be_the_nearest() -> None:
    results = made(8)
    best = [r for r in results["rows"] if r["row"] == "NoT + CL"]
    results["rows"] += [record("twin", r["seed"], r["gap"]) for r in best]
    (table,) = result_tables(results)
    twin = next(x for x in table.rows if x.name == "twin")
    assert twin.p > 0.5
    assert table.mark(twin) == "tied"


def test_costs_before_the_request_have_their_own_columns(results) -> None:
    assert "operations before" not in text(result_tables(results))
    paid = {"preparation_flops": 3e12, "preparation_flops_ratio": 3.0, "preparation_seconds": 31.0}
    results["rows"] += [record("SISA", s, 2.0, flops_ratio=0.5, **paid) for s in range(4)]
    (table,) = result_tables(results)
    grid = render.costs_grid(table)
    by = {texts[0]: dict(zip(grid.header, texts, strict=True)) for _, texts in grid.rows}
    before = "operations before / Retrain's"
    assert by["SISA"]["operations / Retrain's"] == "0.500"
    assert (by["SISA"][before], by["SISA"]["seconds before"]) == ("3.000", "31.0")
    assert by["FT"][before] == "0.000"
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


def test_no_text_of_a_picture_covers_another_or_a_line(results) -> None:
    costs = {"SSD": 0.01, "NegGrad+ few at 0.1": 0.1, "NegGrad+ few": 0.18}
    costs["Quite another method of a very long name"] = 0.5  # the legend makes the axes narrow
    for name, ratio in costs.items():
        results["rows"] += [record(name, s, 2.7, flops_ratio=ratio) for s in range(4)]
    (table,) = result_tables(results)
    axes = figures.gap_against_cost(table).axes[0]
    axes.figure.draw_without_rendering()
    first, second = (label.get_window_extent() for label in axes.texts)
    assert not first.overlaps(second)
    worse, better = (replace(test, base="FT / " + "long " * 4) for test in table.module)
    worse, better = replace(worse, with_module=1.6, without=1), replace(better, with_module=0.4)
    axes = figures.improvements(replace(table, module=[worse, better] * 5)).axes[0]
    axes.figure.draw_without_rendering()
    assert min(label.get_window_extent().y0 for label in axes.texts) > axes.bbox.y0


def test_a_method_without_some_seeds_is_tested_on_the_others(results) -> None:
    results["rows"] = [r for r in results["rows"] if (r["row"], r["seed"]) != ("FT", 3)]
    (table,) = result_tables(results)
    test = next(t for t in table.module if t.base == "FT / CoUn")
    assert test.p == pytest.approx(stats.ttest_rel(GAPS["FT"][:3], GAPS["CoUn"][:3]).pvalue)


def test_every_picture_can_be_drawn() -> None:
    results = made(6)
    later = [{**r, "stage": 2} for r in results["rows"]]
    varied = [
        record(f"CoUn weight={w}", s, 1.0 + w, varied={"weight": w}, base="CoUn", method="coun")
        for w in (0.1, 1.0, 6.0)
        for s in range(6)
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


HOSTILE = "=cmd|'/C calc'!A0 <script>[x](y) ^~_&%$#{}\\"


def test_names_are_text_in_every_form_of_a_table():
    hostile = {"rows": [], "config": {"metrics": list(GAP_METRICS)}}
    for seed in range(2):
        hostile["rows"] += [record("Retrain", seed, 0.0, "Retrain"), record(HOSTILE, seed, 1.0)]
    tables = result_tables(hostile)
    assert f"'{HOSTILE}" in [row[3] for row in csv.reader(io.StringIO(render.as_csv(tables)))]
    tex = latex.latex(tables)
    for written in (
        r"\textasciicircum{}",
        r"\textasciitilde{}",
        r"\_\&\%\$\#\{\}",
        r"\textbackslash",
    ):
        assert written in tex
    assert r"=cmd\textbar{}" in tex
    page = render.markdown(Section("<b>a", "<i>b", render.grids(tables[0])))
    assert "<" not in page
    assert r"\[x\](y)" in page
    assert "=cmd\\|" in page


def test_sentences_in_a_table_of_markdown_are_aligned_to_the_left() -> None:
    grid = Grid.of(["column", "meaning"], [["UA", "100 minus the accuracy."]], words=True)
    assert "| --- | --- |" in render.markdown(Section("What", "", [grid])).splitlines()


def test_dollars_in_names_are_no_formula(results):
    from matplotlib import pyplot

    from coun.report.html import Picture

    figure, axes = pyplot.subplots()
    axes.plot([1e-6, 1], [1, 2], label="$x_{$")
    axes.set_xscale("log")
    axes.set_yticks([1, 2], [r"$\frac$", "$a$"])
    axes.set_title("$x_{$ and $")
    axes.legend()
    assert Picture(figure, "").data
    shown = [label for label in axes.get_xticklabels() if label.get_text()]
    assert all(label.get_parse_math() for label in shown)
    assert not any(label.get_parse_math() for label in axes.get_yticklabels())
    pyplot.close(figure)


@pytest.mark.parametrize(("seeds", "words"), [([0], "; seed 0."), ([1, 0, 1], "; seeds 0, 1.")])
def test_a_report_names_the_seeds_that_were_measured(seeds: list[int], words: str) -> None:
    environment = {"torch": "2.7", "python": "3.12", "gpu": None, "machine": "x86_64"}
    rows = [{"seed": seed} for seed in seeds]
    run = {"rows": rows, "planned": len(rows), "environment": environment, "coun": "0.2.0"}
    origin = _origin(run)
    assert f"{len(rows)} models measured{words} coun 0.2.0" in origin
    assert MARKS["report.md"] in origin


OWN_METRIC = """
from coun.metrics import Metric, accuracy

TOP = Metric("own_top", "top-3", "%", accuracy, ("test.logits", "test.labels"), title="Top three",
             digits=1)
MANY = Metric("own_many", "many", "", len, ("runs.forget.logits",))
"""


def test_a_metric_of_ones_own_has_its_label_unit_and_digits_where_its_code_is_gone(
    results, tmp_path
) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN_METRIC)
    names = [f"{file}:TOP", f"{file}:MANY"]
    described = json.loads(json.dumps(_described([*GAP_METRICS, *names])))
    file.unlink()
    content = {**results, **described, "protocol": {"mia": "svc"}}
    content["config"] = {"metrics": [*GAP_METRICS, *names]}
    content["rows"] = [row | {names[0]: 51.26} for row in content["rows"]]
    (table,) = result_tables(content)
    assert "| RA | UA | TA | MIA | top-3 | gap |" in text([table])
    assert "| 51.3±0.0 |" in text([table])
    assert ("top-3", "Top three (%).") in legend(content)
    del content["metrics"]  # as earlier versions wrote
    assert "| MIA | TOP | MANY | gap |" in text(result_tables(content))
