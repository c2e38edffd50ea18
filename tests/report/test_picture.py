"""Names of classes in any script, in pictures."""

import warnings

import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

from coun.report.picture import Picture, save_figure

IN_STIX = "\u24b6"  # which matplotlib brings along, as it does DejaVu Sans, which lacks the letter
IN_NO_FONT = "\U000f1234"


def named(name):
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_xticks([0, 1], [name, "dog"])
    return figure


def test_what_the_font_lacks_comes_from_another_one(tmp_path, recwarn):
    before = dict(rcParams), list(warnings.filters)
    letter, box = (Picture(named(name), "caption").data for name in (IN_STIX, IN_NO_FONT))
    assert letter != box
    assert Picture(named("\U000f1235"), "caption").data == box
    save_figure(named(IN_NO_FONT), [tmp_path / f"p.{suffix}" for suffix in ("png", "pdf", "svg")])
    assert not list(recwarn)
    assert (dict(rcParams), list(warnings.filters)) == before


def test_other_warnings_remain(monkeypatch):
    def save(figure, buffer, **options):
        warnings.warn("something else", stacklevel=2)

    monkeypatch.setattr(Figure, "savefig", save)
    with pytest.warns(UserWarning, match="something else"):
        _ = Picture(named("cat"), "caption").data
