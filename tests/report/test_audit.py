"""The page of an audit says the verdict first, who was audited, and explains what it shows."""

from types import SimpleNamespace

import pytest
import torch

import coun
from coun.audit import audit
from coun.report import write_audit
from coun.report.audit import _detectable


def test_a_class_is_shown_with_the_classes_that_its_rows_are_given(tmp_path):
    data = coun.load("digits", limit=200)
    split = coun.Split.by_class(data, 8)
    original = coun.train(data, "mlp", epochs=3)
    exact = [coun.train(data, "mlp", split=split, seed=s, epochs=3) for s in (1, 2)]
    tuned = coun.unlearn(original, split, "finetune", epochs=1, lr=1e-6)
    result = audit(tuned, exact, original=original)
    page = write_audit(result, tmp_path).read_text()
    assert page.index(result.verdict.headline) < page.index("<table")
    for text in (
        "one or more whole classes",
        '<th scope="col">floor</th>',
        "Original (before)",
        original.record["weights_sha256"][:12],
        "finetune (FT), seed 0",
        "Retrain (mean of 2)",
        "Pairs:",
        "Levels:",
        "more than 2 points (the margin)",
        "Compare with Retrain&#39;s panel",
        "trained on all rows, seed 0",
        "lr=1e-06",
        "taken on trust",
        "Which rows stand out?",
        "finds 4 times in 5",
    ):
        assert text in page, text
    assert page.count("data:image/png;base64,") == 5
    alone = audit(original, split=split)
    page_alone = write_audit(alone, tmp_path / "alone", maps=True).read_text()
    for judged, text in ((result, page), (alone, page_alone)):
        least = min(row["q"] for row in judged.suspicious())
        assert ("none of these rows stands out" in text) == (least > 0.5)
    page = page_alone
    assert "There is no Retrain here" in page
    for text in (
        "Retrain&#39;s panel",
        "Retrain&#39;s row",
        "to Retrain&#39;s the better",
        "Levels:",
    ):
        assert text not in page, text
    assert page.count("data:image/png;base64,") == 5


@pytest.mark.parametrize("work", ["pictures", "write_report"])
def test_a_process_that_is_killed_while_it_makes_the_page_leaves_no_file(
    tmp_path, monkeypatch, work
):
    data = coun.load("digits", limit=60)
    original = coun.train(data, "mlp", epochs=1)
    result = audit(original, split=coun.Split.random(data, 0.2), rest=False, relearn=False)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f"coun.report.audit.{work}", killed)
        write_audit(result, tmp_path)
    assert list(tmp_path.iterdir()) == []
    write_audit(result, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["audit.json", "report.html"]


def test_a_page_without_tests_does_not_say_what_tests_found(tmp_path):
    data = coun.load("digits", limit=60)
    split = coun.Split.by_index(data, data.train.numbers[:3])
    result = audit(coun.train(data, "mlp", epochs=1), split=split, rest=False, relearn=False)
    page = write_audit(result, tmp_path).read_text()
    assert not result.verdict.evidence
    assert "No test could be made." in result.verdict.sentence
    for text in ("These tests", "They looked at", "Pairs:", "two outlines are alike"):
        assert text not in page, text
    assert "Listed rows may be unlike test rows" in page


def test_text_from_the_data_is_escaped(tmp_path):
    digits = coun.load("digits", limit=100)
    images = digits.train.fetch(torch.arange(100))
    names = [f"<b>{k}</b>$x" for k in range(10)]
    data = coun.from_arrays(
        images, digits.train.labels, images[:50], digits.train.labels[:50], classes=names
    )
    split = coun.Split.random(data, 0.2)
    result = audit(coun.train(data, "mlp", split=split, epochs=1), rest=False)
    page = write_audit(result, tmp_path).read_text()
    assert "<b>3</b>" not in page
    assert "&lt;b&gt;" in page


@pytest.mark.parametrize(
    ("rows", "shown"),
    [(1.0, "1 row"), (1200.4, "1,200 rows"), (float("inf"), "not even all"), (None, "unknown")],
)
def test_how_many_rows_a_test_finds_is_counted(rows, shown):
    assert _detectable(SimpleNamespace(detectable=rows)) == shown
