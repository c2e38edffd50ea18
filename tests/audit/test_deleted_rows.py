"""Audits after forgotten rows were deleted from the source."""

import pytest

import coun
from coun.audit import audit
from coun.errors import CounError


@pytest.fixture
def photos(tmp_path, monkeypatch, write_photos):
    """A folder of pictures in two classes, an Original, a Retrain and an unlearned model."""
    monkeypatch.chdir(tmp_path)
    write_photos(train=12, test=6)
    data = coun.load("folder:photos")
    split = coun.Split.by_id(data, data.ids[:3])
    original = coun.train(data, "mlp", epochs=1, out="o")
    coun.train(data, "mlp", split=split, epochs=1, seed=1, out="r")
    coun.unlearn(original, split, "finetune", epochs=1, out="u")
    return tmp_path / "photos" / "train" / "cat"


def test_what_can_no_longer_be_measured_is_said(photos):
    (photos / "00.png").unlink()
    result = audit("u", "r", original="o")
    assert result.missing == 1
    assert result.verdict.rows["forget"] == 2
    assert "1 of 3 forgotten rows are no longer in the data" in " ".join(result.verdict.caveats)


def test_without_any_forgotten_row_there_is_nothing_to_audit(photos):
    for number in range(3):
        (photos / f"{number:02d}.png").unlink()
    with pytest.raises(CounError, match="none of the forgotten rows is in the data"):
        audit("u", "r", original="o")
