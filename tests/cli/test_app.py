"""What every command does alike."""

import inspect

import pytest

import coun
from coun.cli import app, fulfil, prepare
from coun.runs import options


@pytest.mark.parametrize("option", ["--data", "--model", "--seed"])
def test_an_option_given_twice_is_refused(coun_command, option):
    result = coun_command("train", option, "1", option, "2", "--out", "o")
    assert result.code == 2
    assert f"{option} is given twice; expected once" in result.err


def test_rows_writes_every_match_and_overwrites_nothing(coun_command, tmp_path):
    assert coun_command("rows", "digits", "--find", "12", "--out", "ids.txt").code == 0
    ids = (tmp_path / "ids.txt").read_text().split()
    assert len(ids) > 20
    assert all("12" in name for name in ids)
    again = coun_command("rows", "digits", "--out", "ids.txt")
    assert again.code == 2
    assert "exists; choose another --out" in again.err
    assert (tmp_path / "ids.txt").read_text().split() == ids


def test_defaults_that_commands_repeat_are_those_of_the_library():
    """Commands cannot import them, because that loads torch."""
    of_fulfil = inspect.signature(coun.Registry.fulfil).parameters
    assert of_fulfil["budget"].default == fulfil.BUDGET
    assert of_fulfil["max_retain_change"].default == fulfil.RETAIN_CHANGE
    of_prepare = inspect.signature(coun.prepare).parameters
    assert of_prepare["folds"].default == prepare.FOLDS
    assert of_prepare["repeats"].default == prepare.REPEATS
    assert options.MOST_WORKERS == app.MOST_WORKERS
