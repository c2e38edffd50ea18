"""Every method has a look of its own, in colour and without."""

from dataclasses import replace

from matplotlib import colors
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from coun.report.style import LOOKS, look


def test_no_two_methods_look_alike_even_in_black_and_white() -> None:
    assert len({one.label for one in LOOKS.values()}) == len(LOOKS)
    assert len({(one.marker, one.line) for one in LOOKS.values()}) == len(LOOKS)
    assert len({(one.colour, one.marker) for one in LOOKS.values()}) == len(LOOKS)
    assert len({(one.colour, one.hatch) for one in LOOKS.values()}) >= len(LOOKS) - 1
    plain = [key for key, one in LOOKS.items() if not one.hatch]
    assert plain == ["original", "retrain", "retrain again"]
    hatches = [one.hatch for one in LOOKS.values() if one.hatch]
    assert len(set(hatches)) == len(hatches)


def test_matplotlib_knows_every_spelling() -> None:
    for name in (*LOOKS, "FT + CL", "not+barlow", "unheard of"):
        one = look(name)
        colors.to_rgb(one.colour)
        Line2D([], [], linestyle=one.line, marker=one.marker)
        Rectangle((0, 0), 1, 1, hatch=one.hatch)


def test_names_and_labels_are_the_same_method() -> None:
    for key, one in LOOKS.items():
        assert look(key) is look(one.label) is look(one.label.upper()) is one


def test_the_contrastive_module_keeps_colour_and_marker() -> None:
    for name, label in (
        ("FT + CL", "FT + CL"),
        ("finetune+info_nce", "FT + CL"),
        ("NegGrad+ + CL", "NegGrad+ + CL"),
        ("neggrad_plus+barlow", "NegGrad+ + barlow"),
    ):
        base, one = look(name.rpartition("+")[0]), look(name)
        assert one.label == label
        assert (one.colour, one.marker) == (base.colour, base.marker)
        assert one.line != base.line
        assert one.hatch != base.hatch


def test_other_words_keep_colour_and_marker() -> None:
    for name, base, words in (
        ("NegGrad+ few", "NegGrad+", "few"),
        ("CoUn (both)", "CoUn", "(both)"),
        ("NoT + CL (both)", "NoT + CL", "(both)"),
        ("NegGrad+ few + CL (both)", "NegGrad+ + CL", "few (both)"),
    ):
        one, plain = look(name), look(base)
        assert (one.label, one.words) == (name, words)
        assert (one.colour, one.marker) == (plain.colour, plain.marker)
        assert plain.words == ""


def test_the_unknown_are_drawn_by_their_name_alone() -> None:
    assert look("my method") == look("my method")
    assert look("my method").label == "my method"
    known = {(one.marker, one.line, one.hatch) for one in LOOKS.values()}
    assert (look("my method").marker, look("my method").line, look("my method").hatch) not in known
    assert len({look(f"method {i}") for i in range(20)}) == 20


def test_settings_change_the_label_alone() -> None:
    one = look("NegGrad+ + CL lr=0.1 weight=2")
    assert one.label == "NegGrad+ + CL lr=0.1 weight=2"
    assert replace(one, label="NegGrad+ + CL") == look("NegGrad+ + CL")
