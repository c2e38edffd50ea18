"""Views of rows of tables and of texts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import coun
from coun.data import from_arrays
from coun.data.row_views import FeatureCorruption, TableViews, TokenDropout, TokenViews
from coun.errors import CounError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def rows():
    """64 rows of two numbers and a one-hot column of three; every number names its row."""
    numbers = torch.arange(64.0)[:, None] + torch.tensor([0.0, 1000.0])
    categories = torch.nn.functional.one_hot(torch.arange(64) % 3, 3).float()
    return torch.cat([numbers, categories], 1)


def test_corruption_takes_whole_columns_of_other_rows_of_the_batch(rows):
    seen = FeatureCorruption((1, 1, 3), share=0.6)(rows, generator())
    assert (seen[:, 2:].sum(1) == 1).all()
    assert set(seen[:, 0].tolist()) <= set(range(64))
    assert set(seen[:, 1].tolist()) <= set(range(1000, 1064))
    changed = (seen[:, :2] != rows[:, :2]).sum(1) + (seen[:, 2:] != rows[:, 2:]).any(1)
    assert int(changed.max()) == 2  # 60% of three columns, rounded
    # Donors are drawn for each row and column: two numbers of a row come from different rows.
    both = (seen[:, 0] != rows[:, 0]) & (seen[:, 1] != rows[:, 1])
    assert (seen[both, 0] + 1000 != seen[both, 1]).any()


def test_the_values_of_a_column_keep_their_distribution(rows):
    seen = torch.stack([FeatureCorruption(share=0.6)(rows, generator(s))[:, 0] for s in range(300)])
    assert float(seen.mean()) == pytest.approx(31.5, abs=0.5)


def test_the_first_view_of_a_table_is_the_row_itself(rows):
    views = TableViews((1, 1, 3))
    assert torch.equal(views(rows, generator()), rows)
    assert views.second_view(0.3) == FeatureCorruption((1, 1, 3), 0.3)
    assert torch.equal(views.second_view().evaluate(rows), rows)


def test_token_dropout_hides_tokens_but_neither_the_first_nor_padding():
    texts = torch.arange(1, 13).repeat(2000, 1)
    texts[:, 10:] = -1
    seen = TokenDropout(0.15)(texts, generator())
    assert torch.equal(seen[:, 0], texts[:, 0])
    assert torch.equal(seen[:, 10:], texts[:, 10:])
    hidden = seen[:, 1:10] != texts[:, 1:10]
    assert (seen[:, 1:10][hidden] == -1).all()
    assert float(hidden.float().mean()) == pytest.approx(0.15, abs=0.01)


def test_masking_puts_the_mask_token_in_place():
    texts = torch.full((50, 8), 5)
    seen = TokenViews(mask_token=103).second_view(0.5)(texts, generator())
    assert set(seen.unique().tolist()) == {5, 103}


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(CounError, match="expected 0..1"):
        TableViews().second_view(share)


def test_arrays_get_the_views_of_their_kind():
    y = [0, 1] * 4
    table = from_arrays(np.zeros((8, 5)), y, np.zeros((8, 5)), y)
    text = from_arrays(np.full((8, 5), 7), y, np.full((8, 5), 3), y)
    assert (table.views, table.noun, table.vocabulary) == (TableViews(), "row", None)
    assert (text.views, text.noun, text.vocabulary) == (TokenViews(), "text", 8)
    assert text.dtype == torch.int64
    assert (
        from_arrays(np.full((8, 5), 7), y, np.ones((8, 5), int), y, vocabulary=50).vocabulary == 50
    )


@pytest.mark.parametrize(
    ("values", "vocabulary", "line"),
    [
        (np.full((8, 5), 7), 7, "the vocabulary is 7, but a token id is 7"),
        (np.zeros((8, 5)), 7, "these rows are not texts"),
        (np.full((8, 2, 2), 7), None, "token ids"),
    ],
)
def test_token_ids_that_cannot_be(values, vocabulary, line):
    with pytest.raises(CounError, match=line):
        from_arrays(values, [0, 1] * 4, values, [0, 1] * 4, vocabulary=vocabulary)


@pytest.fixture
def small_table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    return from_arrays(x, (x[:, 0] > 0).astype(int), x[:20], (x[:20, 0] > 0).astype(int))


def test_coun_contrasts_a_row_with_its_corrupted_copy(small_table, caplog):
    split = coun.Split.by_index(small_table, [3])
    original = coun.train(small_table, "mlp", epochs=1)
    plain = coun.unlearn(original, split, "finetune", epochs=1)
    run = coun.unlearn(original, split, "coun", epochs=1)
    milder = coun.unlearn(
        original, split, "finetune", contrast={"loss": "info_nce", "views": "0.3"}, epochs=1
    )
    assert len({r.record.weights_sha256 for r in (plain, run, milder)}) == 3
    assert "identical" not in caplog.text


def test_two_equal_views_are_said(small_table, caplog):
    data = replace(small_table, views=coun.Views(letters=""))
    original = coun.train(data, "mlp", epochs=1)
    coun.unlearn(original, coun.Split.by_index(data, [3]), "coun", epochs=1)
    assert "the two views of each row are identical" in caplog.text


def test_letters_of_images_are_refused_for_rows(small_table):
    original = coun.train(small_table, "mlp", epochs=1)
    split = coun.Split.by_index(small_table, [3])
    with pytest.raises(CounError, match="letters for images, but this data holds rows"):
        coun.unlearn(original, split, "finetune", contrast={"views": "CHN"}, epochs=1)
