"""Shadow models on the digits: who saw what, and what the attacks make of it."""

import json
from dataclasses import replace

import pytest
import torch

import coun
from coun import CounError
from coun.attacks import scaled_logit
from coun.data import TensorExamples
from coun.runs import membership, shadows
from coun.runs.shadow_models import halves

SETTINGS = {"epochs": 2, "batch_size": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shadows")


@pytest.fixture(scope="module")
def made(small, folder):
    return shadows(small, "mlp", 4, out=folder, **SETTINGS)


def test_every_row_is_in_exactly_half_of_the_models():
    masks = halves(6, 101, torch.Generator().manual_seed(0))
    assert masks.shape == (6, 101)
    assert (masks.sum(0) == 3).all()
    assert 30 < int(masks.sum(1).min()) <= int(masks.sum(1).max()) < 71
    # Pairs of rows are not tied to each other: all 20 ways to choose 3 of 6 occur.
    assert len(masks.T.unique(dim=0)) == 20
    for count in (5, 2, 0):
        with pytest.raises(CounError, match=f"{count} shadow models; expected an even number"):
            halves(count, 10, torch.Generator())


def test_shadows_are_retrains_without_their_out_rows(small, made, folder):
    assert made.train.member.shape == made.train.phi.shape == (4, 200)
    assert made.test.member.shape == made.test.confidence.shape == (4, 100)
    assert made.train.phi.dtype == made.train.confidence.dtype == torch.float64
    # A test row's statistics leave out as many models as a training row's.
    assert (made.test.member.sum(0) == 2).all()
    digests = set()
    for k in range(4):
        run = coun.Run.open(folder / f"shadow-{k:03d}", data=small)
        assert run.split.retain.tolist() == small.train.index[made.train.member[k]].tolist()
        assert run.record["method"]["settings"]["epochs"] == 2
        with torch.no_grad():
            logits = run.model(small.views.evaluate(small.train.images))
        expected = scaled_logit(logits, small.train.labels)
        torch.testing.assert_close(made.train.phi[k], expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(made.train.confidence[k].logit(), expected, rtol=1e-4, atol=1e-4)
        digests.add(run.record["weights_sha256"])
    assert len(digests) == 4


def test_finished_models_are_used_again(small, made, folder):
    files = sorted(folder.rglob("model.safetensors"))
    before = [f.stat().st_mtime_ns for f in files]
    again = shadows(small, "mlp", 4, out=folder, **SETTINGS)
    assert [f.stat().st_mtime_ns for f in files] == before
    for name in ("member", "phi", "confidence"):
        assert torch.equal(getattr(again.train, name), getattr(made.train, name))
        assert torch.equal(getattr(again.test, name), getattr(made.test, name))
    # Nor does it matter whether there is a folder at all.
    assert torch.equal(shadows(small, "mlp", 4, **SETTINGS).train.phi, made.train.phi)


def test_a_net_that_learnt_noise_by_heart_is_caught(small):
    # Random labels can only be known by having seen them.
    gen = torch.Generator().manual_seed(0)
    wrong = torch.randint(10, (200,), generator=gen)
    data = replace(small, train=TensorExamples(small.train.images, wrong, small.train.index))
    held = TensorExamples(
        small.test.images, torch.randint(10, (100,), generator=gen), small.test.index
    )
    data = replace(data, test=held, views=replace(data.views, letters="N"))
    settings = {"epochs": 20, "batch_size": 32}
    split = coun.Split.random(data, 0.3)
    known = shadows(data, "mlp", 4, **settings)
    original = coun.train(data, "mlp", seed=1, **settings)
    exact = coun.train(data, "mlp", split=split, seed=1, **settings)
    for attack in ("rmia", "lira_offline"):
        assert membership(original, known, split).roc[attack].auc > 0.8
        assert membership(exact, known, split).roc[attack].auc == pytest.approx(0.5, abs=0.13)
    inside = {
        name: membership(run, known, split, against="retain").roc
        for name, run in {"original": original, "exact": exact}.items()
    }
    for attack in ("rmia", "lira_offline", "lira_online"):
        assert inside["original"][attack].auc == pytest.approx(0.5, abs=0.13)
        assert inside["exact"][attack].auc > 0.8


def test_the_result_names_its_groups(original, made, split):
    computed = membership(original, made, split)
    assert set(computed.scores) == set(computed.roc) == {"lira_offline", "rmia"}
    assert [len(x) for x in computed.scores["rmia"]] == [30, 100]
    reported = json.loads(json.dumps(computed.to_json()))
    assert reported["against"] == "test"
    assert (reported["rmia"]["members"], reported["rmia"]["others"]) == (30, 100)
    computed = membership(original, made, split, against="retain", fixed_variance=False)
    assert [len(x) for x in computed.scores["lira_online"]] == [170, 30]


def test_other_data_and_a_missing_split_are_refused(original, made, split, digits):
    with pytest.raises(CounError, match="pass split="):
        membership(original, made)
    with pytest.raises(CounError, match="on other data"):
        membership(original, replace(made, fingerprint="x"), split)
