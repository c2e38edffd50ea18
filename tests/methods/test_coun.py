"""CoUn: the effect of its settings on the weights and on the cost."""

from dataclasses import replace

import pytest
import torch

import coun
from coun.errors import CounError

EXACT = {"epochs": 1, "momentum": 0.0, "weight_decay": 0.0}


class Plain:
    """Views without augmentation."""

    def __call__(self, images, generator):
        return images.float()

    def evaluate(self, images):
        return images.float()


def digest(original, split, **settings):
    return coun.unlearn(original, split, "coun", epochs=1, **settings).record["weights_sha256"]


def test_averaged_directions_are_half_the_weight(original, split):
    # A factor of two is exact in binary, so this holds to the bit.
    summed = digest(original, split, weight=0.5)
    assert digest(original, split, weight=1.0, directions="mean") == summed
    assert digest(original, split, weight=1.0) != summed


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.2},
        {"weight": 2},
        {"second_view_gradient": False},
        {"second_view_labels": 0.5},
        {"per_batch": True},
        {"second_view_letters": "J"},
        {"second_view_letters": "CHN", "per_batch": True},
    ],
    ids=str,
)
def test_every_setting_has_an_effect(original, split, settings):
    assert digest(original, split, **settings) != digest(original, split)


def test_each_view_updates_batchnorm_on_its_own(original, split):
    def batches(method, **settings):
        model = coun.unlearn(original, split, method, epochs=1, **settings).model
        return int(model.state_dict()["convs.1.num_batches_tracked"])

    start = int(original.model.state_dict()["convs.1.num_batches_tracked"])
    assert batches("finetune") - start == 3
    assert batches("coun") - start == 6
    assert batches("coun", weight=0) - start == 3


def test_a_step_costs_six_forward_passes_or_four(original, split):
    # Multiply-adds of the cnn on an 8x8 grey image, from the layers' sizes alone.
    convs = 64 * 9 * 1 * 32 + 16 * 9 * 32 * 64 + 4 * 9 * 64 * 128
    forward = 2 * (convs + 128 * 128 + 128 * 10)
    seen = 2 * len(split.retain)
    for settings, factor, forwards, trained in (
        ({"weight": 0}, 3, 1, 1),
        ({"second_view_gradient": False}, 4, 2, 1),
        ({}, 6, 2, 2),
    ):
        cost = coun.unlearn(original, split, "coun", epochs=2, **settings).record["cost"]
        assert cost["flops"] == factor * forward * seen
        assert cost["forward_images"] == forwards * seen
        assert cost["trained_images"] == trained * seen
        assert cost["samples_seen"] == seen
        assert cost["steps"] == 6


def test_per_batch_needs_views_that_support_it(original, split):
    data = replace(original.data, views=Plain())
    call = {"data": data, "epochs": 1, "batch_size": 64}
    coun.unlearn(original.model, split, "coun", **call)
    with pytest.raises(CounError, match="per_batch needs coun's own views") as caught:
        coun.unlearn(original.model, split, "coun", per_batch=True, **call)
    assert "\n" not in str(caught.value)


def test_it_pulls_the_views_of_a_retain_image_together(digits):
    split = coun.Split.random(digits, 0.1)
    original = coun.train(digits, "cnn", epochs=2)

    def apart(run):
        from coun.objectives import info_nce_loss
        from coun.seeds import Seeds

        images = digits.train.images[split.rows(digits, "retain")[:256]]
        with torch.no_grad():
            a, b = (
                run.classifier(digits.views(images, Seeds(9).torch(v))).features for v in (0, 1)
            )
        return info_nce_loss(a, b, temperature=0.1).item()

    plain = coun.unlearn(original, split, "finetune", epochs=2)
    assert apart(coun.unlearn(original, split, "coun", epochs=2)) < 0.9 * apart(plain)


def test_labels_of_an_equal_second_view_double_the_step(original, split):
    # Without augmentation the views coincide: CE + CE at lr is CE at 2 lr, to the bit.
    data = replace(original.data, views=Plain())
    call = {"data": data, "batch_size": 64, "schedule": "constant", **EXACT}

    def weights(method, **settings):
        model = coun.unlearn(original.model, split, method, **call, **settings).model
        return list(model.parameters())

    both = weights("coun", lr=0.05, weight=0, second_view_labels=1)
    double, single = weights("finetune", lr=0.1), weights("finetune", lr=0.05)
    assert all(torch.equal(a, b) for a, b in zip(both, double, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(both, single, strict=True))


def test_labels_of_the_second_view_cost_nothing_but_need_its_gradient(original, split):
    plain = coun.unlearn(original, split, "coun", epochs=1)
    both = coun.unlearn(original, split, "coun", epochs=1, second_view_labels=1)
    assert both.record["cost"]["forward_images"] == plain.record["cost"]["forward_images"]
    settings = {"second_view_gradient": False, "second_view_labels": 1}
    with pytest.raises(CounError, match="second_view_labels is 1.0 but second_view_gradient"):
        coun.unlearn(original, split, "coun", epochs=1, **settings)
