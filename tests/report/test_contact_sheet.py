"""The page of near-copies, and the file in which they are confirmed."""

import numpy as np
import pytest
import torch

from coun.data import from_arrays
from coun.data.lookup import all_rows
from coun.data.near_copies import NearCopy
from coun.errors import CounError
from coun.report.contact_sheet import MOST_SHOWN, row_image, write_near_copies


def make_copies(data, count):
    rows = all_rows(data)
    return [NearCopy(rows[i], rows[0], 0.99) for i in range(1, count + 1)]


def test_pairs_of_pictures(digits, tmp_path):
    page, ids = tmp_path / "near.html", tmp_path / "near.txt"
    write_near_copies(digits, make_copies(digits, 3), page, ids)
    text = page.read_text()
    assert text.count("<img") == 6
    assert "--ids near.txt" in text
    assert "http" not in text
    assert ids.read_text().splitlines() == list(digits.train.ids[1:4])


def test_many_pairs_are_cut_and_the_page_says_so(digits, tmp_path):
    count = MOST_SHOWN + 5
    write_near_copies(digits, make_copies(digits, count), tmp_path / "p.html", tmp_path / "p.txt")
    assert f"Only the {MOST_SHOWN} most similar" in (tmp_path / "p.html").read_text()
    assert len((tmp_path / "p.txt").read_text().splitlines()) == MOST_SHOWN


def test_rows_without_pictures_are_named(tmp_path):
    values = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    data = from_arrays(values[..., None, None], [0, 1] * 4, values[:2, :, None, None], [0, 1])
    page = tmp_path / "p.html"
    write_near_copies(data, make_copies(data, 2), page, tmp_path / "p.txt")
    assert "<img" not in page.read_text()
    assert page.read_text().count("<figcaption>") == 2
    with pytest.raises(CounError, match="not 8-bit images"):
        row_image(data, all_rows(data)[0])


@pytest.mark.parametrize("present", ["p.html", "p.txt"])
def test_nothing_is_overwritten(digits, tmp_path, present):
    (tmp_path / present).write_text("mine")
    with pytest.raises(CounError, match="exists"):
        write_near_copies(digits, make_copies(digits, 1), tmp_path / "p.html", tmp_path / "p.txt")
    assert [path.name for path in tmp_path.iterdir()] == [present]


def test_the_image_is_that_of_the_row(digits):
    row = all_rows(digits)[7]
    assert torch.equal(
        torch.from_numpy(row_image(digits, row)), digits.train.fetch(torch.tensor([7]))[0, 0]
    )
