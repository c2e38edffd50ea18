"""Models of another network or recipe than the Retrains: which tests then have no direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from coun.audit.evidence import Evidence
from coun.audit.scores import Subject

OF_NETWORK = ("level_probe", "level_nearby", "level_relearning")
OF_RECIPE = ("kept_retain", "kept_test")  # a model that was trained for less time fits fewer rows
LEFT_OUT = {"unaugmented_epochs": 0, "federation": None}  # of a record, where they are not set


def other_network(unlearned: Sequence[Subject], retrains: Sequence[Subject]) -> bool:
    """Tell whether the weights of a model have other shapes than those of a Retrain.

    Names of weights do not count, because wrappers and libraries name the same layers differently.
    Models without a run are taken for alike.
    """
    shapes = [_shapes(subject) for subject in (*unlearned, *retrains) if subject.run is not None]
    return bool(retrains) and any(each != shapes[0] for each in shapes)


def other_recipe(unlearned: Sequence[Subject], retrains: Sequence[Subject]) -> bool:
    """Tell whether the training of a model, on record, differs from that of a Retrain.

    For a model that was unlearned, it is the training of its Original. Settings that only one of
    two records has do not count, as they may come from another version.
    """
    exact = [settings for subject in retrains if (settings := recipe_of(subject))]
    return any(
        settings[name] != other[name]
        for subject in unlearned
        if (settings := recipe_of(subject))
        for other in exact
        for name in settings.keys() & other.keys()
    )


def unknown_recipe(unlearned: Sequence[Subject], retrains: Sequence[Subject]) -> bool:
    """Tell whether no record names the training of a model that is compared with Retrains.

    A model without a run has no record, and is taken for one of the same recipe.
    """
    recorded = [each for each in (*unlearned, *retrains) if each.run is not None]
    return bool(retrains) and not all(recipe_of(subject) for subject in recorded)


def without_relearning(test: Evidence) -> Evidence:
    """*test* without its direction, if it is of how soon a copy relearns.

    That depends on the optimizer as much as on what is remembered: Retrains by AdamW were said to
    remember a class in 4 of 4 audits with three Retrains by SGD, whose weights named no recipe.
    """
    return replace(test, directed=False) if test.name == "level_relearning" else test


def recipe_of(subject: Subject) -> Mapping[str, Any]:
    """The settings of the training that the record of a model names; empty where it names none."""
    settings = {} if subject.run is None else subject.run.record.original
    return {**LEFT_OUT, **settings} if settings else {}


def of_any_recipe(test: Evidence) -> Evidence:
    """*test* without its direction, if another recipe explains it as well as the request does."""
    return replace(test, directed=False) if test.name in OF_RECIPE else of_answers_only(test)


def of_answers_only(test: Evidence) -> Evidence:
    """*test* without its direction, if it rests on the model being one more Retrain in itself.

    Features, what relearning brings back and the answers to single rows differ from network to
    network, also where nothing is remembered. Levels of answers are in percent of the model's own
    test rows, and tests of rows compare rows within one model.
    """
    single_rows = test.name == "top_rows" and test.part == "listed"
    return replace(test, directed=False) if single_rows or test.name in OF_NETWORK else test


def _shapes(subject: Subject) -> list[tuple[int, ...]]:
    assert subject.run is not None
    return sorted(tuple(weight.shape) for weight in subject.run.model.parameters())
