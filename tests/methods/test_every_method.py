"""Properties of every method, with the shared table of settings."""

from __future__ import annotations

import pytest
import torch
from methods.canonical import CANONICAL, NEEDS_KERNELS
from prepared import prepared

import coun
from coun.engine import Engine
from coun.methods import catalogue
from coun.models import weights_digest

NAMES = sorted(CANONICAL)


def forget(original: coun.Run, split: coun.Split, name: str, **more) -> coun.Run:
    return coun.unlearn(original, split, name, **CANONICAL[name], **more)


def test_every_method_has_a_canonical_setting() -> None:
    assert set(CANONICAL) == set(catalogue())


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_fixes_the_weights_and_the_original_stays(name, original, split) -> None:
    before = weights_digest(original.model)
    first, second, other = (forget(original, split, name, seed=s) for s in (3, 3, 4))
    assert weights_digest(first.model) == weights_digest(second.model) != before
    # What trains also draws; an edit may be a function of the weights alone.
    same = weights_digest(other.model) == weights_digest(first.model)
    assert not (same and catalogue()[name].trains)
    assert weights_digest(original.model) == before
    assert all(bool(torch.isfinite(p).all()) for p in first.model.parameters())
    assert all(p.requires_grad for p in first.model.parameters())
    assert not first.model.training
    cost = first.record["cost"]
    assert cost["seconds"] > 0
    assert cost["flops"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_resumes_to_the_same_bits(
    name, original, split, tmp_path, monkeypatch, killed_at
):
    update, calls = Engine._update, []

    def counted(self, *args):
        calls.append(1)
        return update(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_update", counted)
        whole = weights_digest(forget(original, split, name).model)
    if not calls:
        pytest.skip("edits only: nothing to kill between updates")
    common = {"out": tmp_path / "run", "options": coun.Options(checkpoint_every=0)}
    with killed_at(len(calls) * 2 // 3):
        forget(original, split, name, **common)
    assert weights_digest(forget(original, split, name, **common).model) == whole


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NEEDS_KERNELS])
def test_a_model_without_batchnorm_works(name, small, split, dropping):
    start = prepared(coun.train(small, dropping, epochs=1))
    forget(start, split, name)
