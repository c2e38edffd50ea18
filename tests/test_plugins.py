"""Entry points: what another package adds, and what is refused of it."""

from importlib.metadata import EntryPoint

import pytest

from coun import plugins
from coun.errors import CounError


def point(name, value, group="coun.methods"):
    return EntryPoint(name=name, value=value, group=group)


def test_a_plugin_that_cannot_be_imported_is_named_in_one_line():
    with pytest.raises(
        CounError, match=r"plug-in 'gone' \(no_such_module:X\).*ModuleNotFoundError"
    ):
        plugins.load_plugin(point("gone", "no_such_module:X"))


def test_a_plugin_must_carry_the_name_it_is_registered_by():
    with pytest.raises(CounError, match="registered as 'other' but calls itself 'finetune'"):
        plugins.load_plugin(point("other", "coun.methods.finetune:FineTune"))


def test_a_plugin_replaces_nothing_and_breaks_nothing(monkeypatch):
    points = {
        "coun": point("coun", "coun.methods.finetune:FineTune"),
        "gone": point("gone", "no_such_module:X"),
        "finetune": point("finetune", "coun.methods.finetune:FineTune"),
    }
    monkeypatch.setattr(plugins, "registered", lambda group: points)
    loaded, refused = plugins.load_plugins("coun.methods", built_in={"coun"})
    assert list(loaded) == ["finetune"]
    assert "would replace coun's own 'coun'" in refused["coun"]
    assert "cannot be imported" in refused["gone"]
