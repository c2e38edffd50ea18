"""A method that may read a share of the retain rows only."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import coun
from coun.data.subsets import stratified

FAST = {"epochs": 1, "batch_size": 16, "lr": 0.02}


@pytest.mark.parametrize("method", ["finetune", "coun", "neggrad_plus"])
def test_it_is_unlearning_on_data_without_the_other_rows(small, split, trained_cnn, method) -> None:
    part = coun.unlearn(trained_cnn, split, method, retain_access=0.4, seed=3, **FAST)
    retain = split.rows(small, "retain")
    readable = retain[stratified(small.train.labels[retain], round(0.4 * len(retain)), 3)]
    rows = torch.cat([readable, split.rows(small, "forget")]).sort().values
    fewer = replace(small, train=small.train.take(rows))
    same = coun.unlearn(
        replace(trained_cnn, data=fewer, split=None),
        coun.Split.by_index(fewer, split.forget.tolist()),
        method,
        seed=3,
        **FAST,
    )
    assert part.record["weights_sha256"] == same.record["weights_sha256"]
    assert part.record["cost"]["flops"] == same.record["cost"]["flops"]
    assert part.record["retain_access"] == 0.4
    # It is measured on all retain rows, and it is another run than one that reads them all.
    assert coun.evaluate(part)["counts"]["retain"] == len(retain)
    whole = coun.unlearn(trained_cnn, split, method, seed=3, **FAST)
    assert whole.record["identity"] != part.record["identity"]
    assert "retain_access" not in whole.record or whole.record["retain_access"] is None


def test_what_cannot_work_with_a_share_refuses_it(split, trained_cnn) -> None:
    for share in (0, 1, 1.5, "half", True):
        with pytest.raises(coun.CounError, match=r"above 0 and below 1"):
            coun.unlearn(trained_cnn, split, "finetune", retain_access=share)
    with pytest.raises(coun.CounError, match="retrain is exact"):
        coun.unlearn(trained_cnn, split, "retrain", retain_access=0.5)
    with pytest.raises(coun.CounError, match="reads no retain rows"):
        coun.unlearn(trained_cnn, split, "neggrad", retain_access=0.5)


def test_another_share_is_another_run(split, trained_cnn, tmp_path) -> None:
    coun.unlearn(trained_cnn, split, "finetune", retain_access=0.5, out=tmp_path / "r", **FAST)
    with pytest.raises(coun.CounError, match="retain_access"):
        coun.unlearn(trained_cnn, split, "finetune", out=tmp_path / "r", **FAST)
