import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from coun.data import from_arrays, load
from coun.data.lookup import all_rows, nearest_rows, read_picture, rows_of_source


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 6, 8, 3), dtype=np.uint8)
    ids = [f"{'Ann' if n % 5 == 0 else 'ben'}/{n}.png" for n in range(20)]
    return from_arrays(x, np.arange(20) % 2, x[:4] // 2, np.arange(4) % 2, ids=ids)


def test_rows_are_found_by_a_part_of_their_id(data):
    rows = all_rows(data, "ann")
    assert [(row.number, row.id, row.label, row.part) for row in rows[:2]] == [
        (0, "Ann/0.png", "0", "train"),
        (5, "Ann/5.png", "1", "train"),
    ]
    assert len(all_rows(data)) == 24
    assert not all_rows(data, "cid")


def test_the_nearest_rows_are_those_of_scikit_learn(data):
    picture = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 6, 8), np.uint8))
    both = torch.cat([data.train.images, data.test.images]).flatten(1).double().numpy()
    search = NearestNeighbors(n_neighbors=5).fit(both)
    distance, order = search.kneighbors(picture.flatten().double().numpy()[None])
    rows = nearest_rows(data, picture, 5)
    assert [row.place + 20 * (row.part == "test") for row in rows] == order[0].tolist()
    assert [row.distance for row in rows] == pytest.approx(distance[0] / np.sqrt(144), abs=1e-5)


def test_features_can_be_compared_instead(data):
    def features(examples):
        return torch.nn.functional.one_hot(examples.numbers % 7, 7).float()

    query = torch.nn.functional.one_hot(torch.tensor([3]), 7).float()
    rows = nearest_rows(data, data.train.images[0], 3, features=features, picture_features=query)
    assert [row.number for row in rows] == [3, 10, 17]
    assert rows[0].distance == 0


def test_a_picture_is_fitted_to_the_rows(data, tmp_path, refused):
    Image.new("L", (80, 60), 7).save(tmp_path / "grey.png")
    picture = read_picture(tmp_path / "grey.png", data)
    assert picture.shape == (3, 6, 8)
    assert picture.unique().tolist() == [7]
    (tmp_path / "text.png").write_text("text")
    with refused("text.png", "not an image"):
        read_picture(tmp_path / "text.png", data)
    with refused("none.png", "No such file"):
        read_picture(tmp_path / "none.png", data)
    floats = from_arrays(np.zeros((2, 5)), [0, 1], np.zeros((2, 5)), [0, 1])
    with refused("not 8-bit images"):
        read_picture(tmp_path / "grey.png", floats)


@pytest.mark.parametrize("limit", [None, 5])
def test_rows_of_a_source_are_those_of_its_data(limit, write_photos):
    photos = write_photos(name="{label}{number}.png", train=6, test=2)
    for spec in (f"folder:{photos}", "digits"):
        data = load(spec, limit=limit)
        assert rows_of_source(spec, "1", limit=limit)[0] == all_rows(data, "1")
