"""Which part of a source a command reads, and what it says of it."""

import json

import pytest


@pytest.fixture
def photos(write_photos):
    """Two class folders with ten pictures each, of two sizes, without a test part."""
    return write_photos(lambda number: 8 + number % 2, "{label}_{number}.png", undivided=10)


def test_the_held_out_part_is_said_and_can_be_chosen(coun_command, photos, tmp_path):
    chosen = tmp_path / "test.txt"
    chosen.write_text("cat/cat_3.png\ndog/dog_5.png\n")
    rows = ("rows", f"folder:{photos}", "--size", 8, "--json")
    drawn = coun_command(*rows, "--test-share", 0.1)
    assert "2 of 20 rows are held out for testing" in drawn.err
    shown = coun_command(*rows, "--test-ids", chosen).json["shown"]
    assert {row["id"] for row in shown if row["part"] == "test"} == {
        "cat/cat_3.png",
        "dog/dog_5.png",
    }


def test_an_option_that_a_source_does_not_have_is_refused(coun_command):
    result = coun_command("rows", "digits", "--test-share", 0.1)
    assert result.code == 2
    assert "--test-share applies to" in result.err


OWN_SOURCE = """
import numpy as np

import coun
from coun.data.sources import Source


def read(*, level: float = 0.0, kind: str = "grey"):
    images = np.full((20, 4, 4), 10 * level, np.uint8)
    labels = np.arange(20) % 2
    return coun.from_arrays(images, labels, images, labels, classes=[kind, "x"])


OWN = Source("own", read, "images of one level", argument="")
"""


def test_an_option_of_a_source_of_ones_own(coun_command, tmp_path):
    (tmp_path / "own.py").write_text(OWN_SOURCE)
    rows = ("rows", "./own.py:OWN")
    chosen = coun_command(
        *rows, "--data-option", "level=2.5", "--data-option", "kind=red", "--json"
    )
    assert chosen.json["shown"][0]["label"] == "red"
    words = ("train", "--data", "./own.py:OWN", "--data-option", "level=2.5", "--model", "mlp")
    assert coun_command(*words, "--set", "epochs=1", "--out", "original").code == 0
    record = json.loads((tmp_path / "original" / "run.json").read_text())["data"]
    assert record["origin"]["level"] == 2.5
    for pair, said in (
        ("levle=2", "did you mean 'level'?"),
        ("level", "expected KEY=VALUE"),
        ("limit=3", "called --limit"),
    ):
        refused = coun_command(*rows, "--data-option", pair)
        assert (refused.code, said in refused.err) == (2, True), refused.err
