"""A classifier with scikit-learn's interface that can forget rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from coun.data import Split, TensorExamples, from_arrays
from coun.data.adapter import check_alignment
from coun.data.requests.listed import row_numbers
from coun.engine import predict
from coun.errors import CounError
from coun.runs import Run, train, unlearn

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # before scikit-learn 1.6

    def validate_data(estimator: Any, *arrays: Any, **options: Any) -> Any:
        """Check arrays, and the number and names of their columns."""
        return estimator._validate_data(*arrays, **options)


class Unlearner(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Train a network on a table of numbers, and make it forget rows.

    Args:
        model: a name of `coun.MODELS` that takes rows of numbers, or a function that makes a
            module.
        method: how rows are forgotten, a name that `coun methods` lists.
        epochs: of training; by default the model's recipe.
        settings: of *method*, such as {"epochs": 5}.
        random_state: the seed, an integer; None is 0, so that results can be repeated.

    Attributes:
        classes_: the K labels, sorted.
        n_features_in_: the number of columns.
        feature_names_in_: their names, if X is a table that has them; `predict` takes no others.
        run_: the present model as a `coun.Run`; `original_` the one before anything was
            forgotten. Columns are scaled to mean 0 and deviation 1 of the rows of `fit`.

    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> forgot = Unlearner(epochs=2).fit(x, y).unlearn([0, 7])
    >>> len(forgot.predict(x))
    150
    """

    def __init__(
        self,
        model: Any = "mlp",
        *,
        method: str = "finetune",
        epochs: int | None = None,
        settings: dict[str, Any] | None = None,
        random_state: int | None = None,
    ) -> None:
        self.model = model
        self.method = method
        self.epochs = epochs
        self.settings = settings
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Unlearner:  # noqa: N803
        """Train on rows X (N, D) with labels y (N,); everything that was forgotten is new again.

        Raises: ValueError for what scikit-learn refuses, and for a single class; CounError for a
            table and labels of pandas whose rows are in another order.
        """
        check_alignment(X, y, "X", "y")
        X, y = validate_data(self, X, y, dtype=np.float64)  # noqa: N806
        check_classification_targets(y)
        encoder = LabelEncoder().fit(y)
        if len(encoder.classes_) < 2:
            raise ValueError("y has 1 class; expected 2 or more classes")
        self.classes_ = encoder.classes_
        self._mean = X.mean(0)
        deviation = X.std(0)
        self._deviation = np.where(deviation > 0, deviation, 1.0)
        rows, labels = self._scaled(X), encoder.transform(y)
        # A part for tests must exist; nothing here measures on it.
        names = [str(name) for name in self.classes_]
        names = names if len(set(names)) == len(names) else [str(k) for k in range(len(names))]
        data = from_arrays(rows, labels, rows[:1], labels[:1], classes=names)
        chosen: dict[str, Any] = {} if self.epochs is None else {"epochs": self.epochs}
        self.original_: Run = train(data, self.model, seed=self._seed, **chosen)
        self.run_ = self.original_
        return self

    def unlearn(self, ids: Iterable[int]) -> Unlearner:
        """Forget the rows at these positions of the X that `fit` got.

        Rows of earlier calls stay forgotten, and are never trained on again.

        Raises: CounError for positions that do not exist or are not integers, such as a mask, or
            if no row would be left.
        """
        check_is_fitted(self)
        positions = row_numbers(ids, "position")
        if not len(positions):
            raise CounError("no row to forget; expected at least one position")
        split = Split.by_index(self.run_.data, positions, earlier=self.run_.split)
        settings = self.settings or {}
        self.run_ = unlearn(self.run_, split, self.method, seed=self._seed, **settings)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The probabilities of the classes, (N, K) float64, rows of X (N, D).

        Raises: ValueError for columns in another number, or in another order by their names.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)  # noqa: N806
        rows = TensorExamples.of(self._scaled(X), np.zeros(len(X), np.int64))
        logits = predict(self.run_.classifier, self.run_.data, rows).logits
        probabilities: np.ndarray = torch.softmax(logits.double(), 1).numpy()
        return probabilities

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The most probable label of each row of X (N, D), (N,)."""
        probabilities = self.predict_proba(X)
        labels: np.ndarray = self.classes_[probabilities.argmax(1)]
        return labels

    @property
    def _seed(self) -> int:
        return 0 if self.random_state is None else int(self.random_state)

    def _scaled(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        rows: np.ndarray = ((X - self._mean) / self._deviation).astype(np.float32)
        return rows
