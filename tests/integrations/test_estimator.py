"""The estimator is one for scikit-learn, and forgets like the functions that it calls."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_estimator

import coun
from coun.errors import CounError
from coun.integrations import Unlearner


@pytest.fixture(scope="module")
def iris() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_iris(return_X_y=True)
    return x, np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.mark.slow
def test_scikit_learns_own_checks_pass() -> None:
    """All checks of scikit-learn; none is expected to fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of checks that it skips
        check_estimator(Unlearner(epochs=20))


def test_rows_are_forgotten_as_by_the_functions(iris) -> None:
    x, y = iris
    model = Unlearner(epochs=3, method="finetune", settings={"epochs": 1}, random_state=4)
    model.fit(x, y).unlearn([0, 70])
    split = coun.Split.by_index(model.original_.data, [0, 70])
    same = coun.unlearn(model.original_, split, "finetune", seed=4, epochs=1)
    assert model.run_.record.weights_sha256 == same.record.weights_sha256
    assert model.run_.split.forget.tolist() == [0, 70]
    assert model.unlearn([3]).run_.split.forget.tolist() == [0, 3, 70]
    assert set(model.predict(x)) <= {"setosa", "versicolor", "virginica"}
    np.testing.assert_allclose(model.predict_proba(x).sum(1), 1)


def test_it_learns_and_fits_into_pipelines(iris) -> None:
    assert cross_val_score(Unlearner(epochs=20), *iris, cv=3).mean() > 0.9


def test_bad_positions_are_refused(iris) -> None:
    model = Unlearner(epochs=1).fit(*iris)
    # A mask is no list of positions: it would be read as the positions 0 and 1.
    for wrong in ([], [150], [1.7], [True, False], np.arange(150) < 5, ["a"], 5):
        with pytest.raises(CounError):
            model.unlearn(wrong)


def test_columns_of_a_table_in_another_order_are_refused(iris) -> None:
    pandas = pytest.importorskip("pandas")
    x, y = iris
    table = pandas.DataFrame(x, columns=list("abcd"))
    model = Unlearner(epochs=1).fit(table, y)
    assert list(model.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[list("dcba")])


def test_labels_in_another_order_than_their_rows_are_refused(iris) -> None:
    pandas = pytest.importorskip("pandas")
    x, y = iris
    table, labels = pandas.DataFrame(x), pandas.Series(y)
    with pytest.raises(CounError, match="index of y is not that of X"):
        Unlearner(epochs=1).fit(table, labels[::-1])
