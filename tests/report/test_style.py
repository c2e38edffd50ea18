"""Every method has a style of its own, with and without colour."""

from dataclasses import replace

from matplotlib import colors
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from coun.report.style import STYLES, method_style


def test_no_two_methods_share_a_style_even_in_black_and_white() -> None:
    assert len({style.label for style in STYLES.values()}) == len(STYLES)
    assert len({(style.marker, style.line) for style in STYLES.values()}) == len(STYLES)
    assert len({(style.colour, style.marker) for style in STYLES.values()}) == len(STYLES)
    assert len({(style.colour, style.hatch) for style in STYLES.values()}) >= len(STYLES) - 1
    plain = [key for key, style in STYLES.items() if not style.hatch]
    assert plain == ["original", "retrain", "retrain again"]
    hatches = [style.hatch for style in STYLES.values() if style.hatch]
    assert len(set(hatches)) == len(hatches)


def test_matplotlib_accepts_every_spelling() -> None:
    for name in (*STYLES, "FT + CL", "not+barlow", "unheard of"):
        style = method_style(name)
        colors.to_rgb(style.colour)
        Line2D([], [], linestyle=style.line, marker=style.marker)
        Rectangle((0, 0), 1, 1, hatch=style.hatch)


def test_names_and_labels_give_the_same_style() -> None:
    for key, style in STYLES.items():
        assert (
            method_style(key)
            is method_style(style.label)
            is method_style(style.label.upper())
            is style
        )


def test_rows_of_earlier_benches_are_drawn_with_the_whole_word() -> None:
    assert method_style("OOF matching").label == "Out-of-fold matching"


def test_the_contrastive_module_keeps_colour_and_marker() -> None:
    for name, label in (
        ("FT + CL", "FT + CL"),
        ("finetune+info_nce", "FT + CL"),
        ("NegGrad+ + CL", "NegGrad+ + CL"),
        ("neggrad_plus+barlow", "NegGrad+ + barlow"),
    ):
        base, style = method_style(name.rpartition("+")[0]), method_style(name)
        assert style.label == label
        assert (style.colour, style.marker) == (base.colour, base.marker)
        assert style.line != base.line
        assert style.hatch != base.hatch


def test_other_words_keep_colour_and_marker() -> None:
    for name, base, words in (
        ("NegGrad+ few", "NegGrad+", "few"),
        ("CoUn (both)", "CoUn", "(both)"),
        ("NoT + CL (both)", "NoT + CL", "(both)"),
        ("NegGrad+ few + CL (both)", "NegGrad+ + CL", "few (both)"),
    ):
        style, plain = method_style(name), method_style(base)
        assert (style.label, style.words) == (name, words)
        assert (style.colour, style.marker) == (plain.colour, plain.marker)
        assert plain.words == ""


def test_the_style_of_an_unknown_method_depends_on_its_name_alone() -> None:
    assert method_style("my method") == method_style("my method")
    assert method_style("my method").label == "my method"
    known = {(style.marker, style.line, style.hatch) for style in STYLES.values()}
    assert (
        method_style("my method").marker,
        method_style("my method").line,
        method_style("my method").hatch,
    ) not in known
    assert len({method_style(f"method {i}") for i in range(20)}) == 20


def test_settings_change_only_the_label() -> None:
    style = method_style("NegGrad+ + CL lr=0.1 weight=2")
    assert style.label == "NegGrad+ + CL lr=0.1 weight=2"
    assert replace(style, label="NegGrad+ + CL") == method_style("NegGrad+ + CL")
