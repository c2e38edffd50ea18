"""The demonstration tells what happened: its numbers are counted again from what it left behind."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

import coun
from coun.demo import Story, demo, two_cores
from coun.demo.mistake import TRUE, WRONG, _fulfil, spoiled_digits
from coun.errors import CounError
from coun.files import file_digest


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    return demo(tmp_path_factory.mktemp("demo") / "out", fast=True)


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a":
            self.links.append(values["href"] or "")
        if tag == "img":
            self.pictures.append(values)


def test_a_tenth_of_the_threes_is_labelled_wrongly(tmp_path) -> None:
    data, wrong = spoiled_digits(tmp_path / "digits.npz")
    clean = coun.load("digits")
    changed = (data.train.labels != clean.train.labels).nonzero()[:, 0].tolist()
    assert [data.ids[place] for place in changed] == wrong
    assert {int(clean.train.labels[place]) for place in changed} == {int(TRUE)}
    assert {int(data.train.labels[place]) for place in changed} == {int(WRONG)}
    assert len(changed) == int((clean.train.labels == int(TRUE)).sum()) // 10


def test_pages_do_not_show_where_they_are_on_the_disk(story) -> None:
    folder = story.page.parent
    for page in (story.page, folder / "mistake" / "audit" / "report.html"):
        assert str(folder) not in page.read_text()
    messages = " ".join(message for _, _, message in story.mistake.verified)
    assert "mistake/registry issued this certificate" in messages


def test_the_numbers_are_those_of_the_models(story) -> None:
    part, folder = story.mistake, story.page.parent / "mistake"
    registry = coun.Registry.open(folder / "registry")
    version = registry.request(1).version
    assert version is not None
    assert not registry.verify(1).failures
    assert registry.request(1).rows == len(part.found)
    model = registry.open_version(version)
    registry.close()
    original = coun.Run.open(folder / "original")
    suspicious = {row.id for row in coun.suspicious_labels(original)}
    assert part.suspicious == len(suspicious)
    assert {row.id for row in part.found} == suspicious & {row.id for row in part.rows}
    places = [original.data.ids.index(row.id) for row in part.rows]
    images = original.data.views.evaluate(original.data.train.images[places])
    for name, run in (("Original", original), ("unlearned", model)):
        answers = run.model.eval()(images).argmax(1).tolist()
        assert [int(row.answers[name].label) for row in part.rows] == answers
    assert part.learned == sum(row.answers["Original"].label == WRONG for row in part.rows)


def test_the_page_has_everything_and_needs_nothing_else(story) -> None:
    page = Links()
    page.feed(story.page.read_text())
    assert len(page.pictures) == len(story.mistake.rows) + 2
    assert all(picture["alt"] for picture in page.pictures)
    for link in page.links:
        assert link.startswith("#") or (story.page.parent / link).exists()
    text = story.page.read_text()
    assert "http" not in text
    assert story.mistake.headline in text
    document = json.loads((story.page.parent / "results.json").read_text())
    assert document == json.loads(json.dumps(story.to_json()))
    assert document["digit"]["Retrain"]["unlearn_accuracy"] == 100
    for shares in story.digit.shares.values():
        assert sum(shares) == pytest.approx(100)


def test_a_repeated_call_fulfils_nothing_again(story) -> None:
    folder = story.page.parent / "mistake"
    before = file_digest(folder / "registry/certificates/1/certificate.intoto.json")
    original = coun.Run.open(folder / "original")
    _fulfil(folder / "registry", original, [row.id for row in story.mistake.found], {})
    assert file_digest(folder / "registry/certificates/1/certificate.intoto.json") == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CounError, match=r"is not empty"):
        demo(tmp_path)


def test_two_parts_run_beside_each_other() -> None:
    notes: list[str] = []

    def first(tick: two_cores.Tick) -> int:
        tick("here")
        return 1

    # A function that the other process can import.
    second = "{value} there".format
    assert two_cores.side_by_side(first, second, {"value": 2}, notes.append) == (1, "2 there")
    assert notes == ["here"]


def test_steps_and_errors_of_the_other_process_are_passed_on() -> None:
    sent: list[tuple[str, object]] = []

    class Sender:
        send = staticmethod(sent.append)

    def fails(tick: two_cores.Tick) -> None:
        tick("one step")
        raise CounError("no space left")

    two_cores._in_child(fails, {}, Sender())  # type: ignore[arg-type]
    assert sent == [("tick", "one step"), ("error", "no space left")]
