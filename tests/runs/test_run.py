"""Train and unlearn as a user calls them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import coun
from coun.errors import CounError
from coun.methods import make
from coun.models import weights_digest
from coun.runs.recipes import recipe


class Pairs:
    """A map-style dataset of a user's own: (image, label) by number, and nothing else."""

    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, row):
        return self.examples.images[row, 0], int(self.examples.labels[row])


class Net(nn.Module):
    """A net of a user's own: no BatchNorm, no familiar names."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh())
        self.top = nn.Linear(32, 10)

    def forward(self, x):
        return self.top(self.body(x))


def test_train_learns(digits):
    run = coun.train(digits, "cnn", epochs=4)
    assert coun.evaluate(run)["test_accuracy"] > 85
    assert not run.model.training


def test_the_same_call_gives_the_same_bits_and_another_seed_does_not(small):
    digests = [
        coun.train(small, "cnn", epochs=1, seed=seed).record["weights_sha256"] for seed in (0, 0, 1)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_record_says_what_was_done(original, split):
    run = coun.unlearn(original, split, "coun", epochs=1, seed=4, temperature=0.2)
    record = run.record
    assert record["status"] == "complete"
    assert record["kind"] == "unlearned"
    assert record["seed"] == 4
    assert record["method"]["name"] == "coun"
    assert record["method"]["settings"]["temperature"] == 0.2
    assert record["method"]["settings"]["batch_size"] == 64
    assert record["weights_sha256"] == weights_digest(run.model)
    assert record["parent"]["weights_sha256"] == original.record["weights_sha256"]
    assert record["split"]["sha256"] == split.digest
    assert len(record["history"]) == 1
    assert record["cost"]["steps"] == 3
    assert (original.record["kind"], original.record["parent"]) == ("original", None)


def test_an_original_and_a_retrain_say_so(small, split):
    assert coun.train(small, "mlp", epochs=1).record["kind"] == "original"
    assert coun.train(small, "mlp", epochs=1, split=split).record["kind"] == "retrain"


@pytest.mark.parametrize("method", ["finetune", "not", "coun", "retrain"])
def test_the_start_is_left_alone(original, split, method):
    before = weights_digest(original.model)
    run = coun.unlearn(original, split, method, epochs=1)
    assert run.model is not original.model
    assert weights_digest(original.model) == before
    assert run.record["weights_sha256"] != before


def test_unlearning_goes_on_from_an_unlearned_run(original, split):
    first = coun.unlearn(original, split, "not", epochs=1)
    second = coun.unlearn(first, split, "finetune", epochs=1)
    assert second.split is split
    assert second.record["parent"]["method"] == "not"
    assert second.record["original"] == original.record["original"]


def test_a_net_and_data_of_the_users_own(small):
    data = coun.from_dataset(Pairs(small.train), Pairs(small.test))
    split = coun.Split.by_index(data, [3, 5, 8])
    net = Net()
    trained = coun.train(data, Net, epochs=2)
    start = weights_digest(net)
    for method in ("finetune", "coun", "not"):
        run = coun.unlearn(net, split, method, data=data, epochs=1)
        assert isinstance(run.model, Net)
        expected = {"name": None, "head": "top", "parameters": 2410, "config": None}
        assert run.record["model"] == expected
    exact = coun.unlearn(net, split, "retrain", data=data, build=Net, epochs=1)
    assert weights_digest(net) == start
    result = coun.evaluate(coun.unlearn(trained, split, "coun", epochs=1), against=exact)
    assert result["average_gap"] >= 0


def test_a_module_given_to_train_is_the_starting_point(small):
    torch.manual_seed(0)
    net = Net()
    before = weights_digest(net)
    barely = coun.train(small, net, epochs=1, lr=1e-12, weight_decay=0)
    assert weights_digest(net) == before
    torch.testing.assert_close(barely.model.state_dict(), net.state_dict())


def test_retrain_of_a_bare_module_needs_its_factory(small, split):
    with pytest.raises(CounError, match="pass the function that makes one"):
        coun.unlearn(Net(), split, "retrain", data=small, epochs=1)


def test_a_method_object_is_used_as_it_is(original, split):
    method = make("finetune", {"epochs": 1})
    by_name = coun.unlearn(original, split, "finetune", epochs=1)
    run = coun.unlearn(original, split, method)
    assert run.record["weights_sha256"] == by_name.record["weights_sha256"]
    with pytest.raises(CounError, match="settings go into the Method object"):
        coun.unlearn(original, split, method, epochs=2)


def test_what_is_missing_is_named(original, split):
    with pytest.raises(CounError, match="pass data="):
        coun.unlearn(Net(), split)
    with pytest.raises(CounError, match="no forget request"):
        coun.unlearn(original)


def test_a_net_for_other_classes_is_refused(small):
    with pytest.raises(CounError, match="the model has 7 outputs but the data has 10 classes"):
        coun.train(small, lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), epochs=1)


def test_a_model_of_one_logit_is_told_how_to_have_two():
    rows, labels = torch.randn(20, 3), torch.arange(20) % 2
    data = coun.from_arrays(rows, labels, rows, labels)
    torch.manual_seed(0)
    one = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    with pytest.raises(CounError, match="1 output but the data has 2 classes.*second ones those"):
        coun.Run.from_weights(one, data)
    two = nn.Linear(4, 2)
    with torch.no_grad():
        two.weight.copy_(torch.cat([torch.zeros(1, 4), one[2].weight]))
        two.bias.copy_(torch.cat([torch.zeros(1), one[2].bias]))
    both = nn.Sequential(one[0], one[1], two)
    torch.testing.assert_close(both(rows).softmax(1)[:, 1:], one(rows).sigmoid())
    assert coun.Run.from_weights(both, data).classifier.out_features == 2


def test_the_head_is_named_as_the_message_says(small, split):
    class Probabilities(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.last = nn.Linear(64, 8), nn.Linear(8, 10)

        def forward(self, x):
            return self.last(self.body(x.flatten(1)).relu()).softmax(1)

    with pytest.raises(CounError, match="name it with head='last'"):
        coun.train(small, Probabilities, epochs=1)
    original = coun.train(small, Probabilities, epochs=1, head="last")
    run = coun.unlearn(original.model, split, "finetune", data=small, epochs=1, head="last")
    assert original.record.model.head == run.record.model.head == "last"
    other = coun.Options(head="body")
    assert coun.train(small, Probabilities, epochs=1, options=other, head="last").folder is None


def test_an_option_among_the_settings_is_refused_with_its_place(small):
    with pytest.raises(CounError, match=r"write options=coun.Options\(device=\.\.\.\)"):
        coun.train(small, "mlp", device="cpu")


def test_a_network_of_volumes_is_trained():
    rows, labels = torch.randn(12, 1, 4, 4, 4), torch.arange(12) % 2

    def make():
        return nn.Sequential(
            nn.Conv3d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(2, 2)
        )

    data = coun.from_arrays(rows, labels, rows, labels)
    run = coun.unlearn(coun.train(data, make, epochs=1), coun.Split.by_index(data, [3]), epochs=1)
    assert len(run.split.retain) == 11


def test_a_split_of_other_data_is_refused(original, digits):
    with pytest.raises(CounError, match="was the split made for other data"):
        coun.unlearn(original, coun.Split.random(digits, 0.1))


def test_an_unknown_device_is_one_line(small):
    with pytest.raises(CounError, match="unknown device 'abacus'; expected auto, cpu") as caught:
        coun.train(small, "mlp", epochs=1, options=coun.Options(device="abacus"))
    assert "\n" not in str(caught.value)


def test_bf16_trains_a_net_whose_weights_stay_float32(original, split):
    options = coun.Options(precision="bf16")
    run = coun.unlearn(original, split, "coun", epochs=1, options=options)
    assert run.record["compute"]["precision"] == "bf16"
    assert {p.dtype for p in run.model.parameters()} == {torch.float32}
    assert all(torch.isfinite(p).all() for p in run.model.parameters())


def test_a_diverging_run_stops(original, split):
    with pytest.raises(CounError, match="expected a finite number; try a lower lr"):
        coun.unlearn(original, split, "finetune", epochs=5, lr=1e9)


def test_a_run_does_not_depend_on_where_its_checkpoints_are(small, tmp_path):
    options = coun.Options(checkpoint_every=0)
    kept = coun.train(small, "cnn", epochs=1, out=tmp_path / "a", options=options)
    plain = coun.train(small, "cnn", epochs=1)
    assert kept.record["weights_sha256"] == plain.record["weights_sha256"]


def test_paper_models_get_the_papers_recipe():
    paper = recipe("resnet18")
    assert (paper.epochs, paper.batch_size, paper.lr, paper.schedule, paper.warmup) == (
        182,
        256,
        0.1,
        "multistep",
        0,
    )
    assert recipe("vgg16").warmup == pytest.approx(75 / 182)
    small = recipe("cnn")
    assert (small.epochs, small.batch_size, small.schedule) == (30, 64, "cosine")
    assert recipe(None) == small
    assert recipe("cnn", {"epochs": 3}) == replace(small, epochs=3)


def test_unlearning_gets_the_papers_share_of_the_epochs(original, split):
    paper = make("coun").with_defaults_from({"epochs": 182, "batch_size": 128})
    assert (paper.epochs, paper.batch_size) == (50, 128)
    assert make("coun").with_defaults_from({}).epochs == 50
    assert coun.unlearn(original, split).record["method"]["settings"]["epochs"] == 1


def test_a_retrain_never_starts_from_given_weights(small, split, original):
    with pytest.raises(CounError, match="must not start from given weights"):
        coun.train(small, original.model, split=split, epochs=1)


def test_a_transform_of_ones_own_is_named_without_its_address(small, tmp_path):
    class Mine:
        def __call__(self, x, generator):
            return self.evaluate(x)

        def evaluate(self, x):
            return x.float() / 255

    runs = [
        coun.train(replace(small, views=Mine()), "mlp", epochs=1, out=tmp_path / "run")
        for _ in range(2)
    ]
    assert runs[0].record == runs[1].record
    assert "0x" not in runs[0].record["data"]["views"]


def test_streamed_data_gives_the_same_bits_as_data_in_memory(small, split):
    digests = set()
    for stream in (False, True):
        data = coun.from_dataset(
            Pairs(small.train), Pairs(small.test), views=small.views, stream=stream
        )
        original = coun.train(data, "cnn", epochs=1)
        forgot = coun.unlearn(original, coun.Split.by_index(data, split.forget), epochs=1)
        digests.add(weights_digest(forgot.model))
        assert coun.evaluate(forgot)["mia_efficacy"] is not None
    assert len(digests) == 1


def test_weights_that_are_no_numbers_are_refused(small, split):
    net = Net()
    with torch.no_grad():
        next(net.parameters()).view(-1)[0] = torch.nan
    for use in (
        lambda: coun.unlearn(net, split, "finetune", data=small, epochs=1),
        lambda: coun.Run.from_weights(net, small),
    ):
        with pytest.raises(CounError, match="holds NaN or infinite values in"):
            use()
