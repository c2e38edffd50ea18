"""LaTeX: rows as wide as their header, the columns that were asked for, and fitted to the page."""

from __future__ import annotations

import re

import pytest
from bench.output.test_tables import made

import coun
from coun.bench.output.latex import Latex, latex, latex_of_grid
from coun.bench.output.result_table import ResultTable
from coun.bench.output.tables import result_tables
from coun.report import Grid


@pytest.fixture(scope="module")
def tables() -> list[ResultTable]:
    results = made(8)
    other = [{**r, "workload": "second & net"} for r in results["rows"]]
    return result_tables({**results, "rows": [*results["rows"], *other]})


def widths(tex: str) -> list[set[int]]:
    """For each table, the numbers of cells of its lines; a heading over all columns counts too."""
    computed = []
    for table in re.findall(r"\\begin\{tabular\}\{(.*?)\}(.*?)\\end\{tabular\}", tex, re.DOTALL):
        columns, body = table
        lines = [line for line in body.split("\n") if line.rstrip().endswith("\\\\")]
        counts = {len(columns)}
        for line in lines:
            wide = re.search(r"\\multicolumn\{(\d+)\}", line)
            plain = line.replace("\\&", "")
            counts.add(int(wide.group(1)) if wide else plain.count("&") + 1)
        computed.append(counts)
    return computed


def test_every_table_has_equal_lines_a_label_and_the_width_of_the_page(tables) -> None:
    tex = latex(tables)
    assert all(len(counts) == 1 for counts in widths(tex))
    labels = re.findall(r"\\label\{(.*?)\}", tex)
    assert len(labels) == len(set(labels)) == tex.count(r"\begin{table}") == 5
    assert labels[0] == "tab:all"
    assert tex.count(r"max width=\linewidth") == tex.count(r"\begin{tabular}") == 5
    assert tex.count("{") == tex.count("}")
    assert r"second \& net" in tex
    combined = tex.partition(r"\end{table}")[0]
    assert combined.count(r"\textit{") == 2
    for name in ("FT", "NoT", "CoUn", "NegGrad"):
        assert combined.count(f"\n  {name}") >= 2


def test_columns_digits_brackets_and_labels_are_chosen(tables) -> None:
    how = Latex(columns=("UA", "gap", "paper_flops"), digits=1, brackets="signed", label="t-")
    tex = latex(tables, how)
    assert r"Method & UA & Gap & FLOPs (paper) \\" in tex
    assert "TA" not in tex.split("the contrastive module")[0].split("toprule")[1]
    assert re.search(r"\\,\([+-]\d+\.\d\)", tex)
    assert r"\label{t-all}" in tex
    assert "signed difference" in tex
    plain = latex(tables, Latex(brackets="none"))
    assert r"\,(" not in plain
    assert "In brackets" not in plain
    with pytest.raises(coun.CounError, match="unknown column 'UU'"):
        latex(tables, Latex(columns=("UU",)))
    with pytest.raises(coun.CounError, match=r"expected 0\.\.6"):
        Latex(digits=9)
    with pytest.raises(coun.CounError, match="column 'ua' is named twice"):
        latex(tables, Latex(columns=("UA", "ua")))
    with pytest.raises(coun.CounError, match="no column is named"):
        Latex(columns=())
    for label in ("}x", "a\\b", "50%", "a b"):
        with pytest.raises(coun.CounError, match="does not take in a label"):
            Latex(label=label)


def test_any_grid_is_a_table() -> None:
    tex = latex_of_grid(Grid.of(["a_b", "x"], [["50%", "1"]], words=True), "Cap & tion.", "tab:x")
    assert widths(tex) == [{2}]
    assert r"a\_b & x" in tex
    assert r"\caption{Cap \& tion.}" in tex
