"""Which part of a source a command reads, and what it says of it."""

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
