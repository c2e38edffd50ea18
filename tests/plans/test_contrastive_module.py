"""The contrastive module, added to other methods."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic.dataclasses import dataclass
from torch import nn

import coun
from coun.data import Views
from coun.engine import Compute, Engine, Fit, Phase
from coun.methods import catalogue, make
from coun.models import weights_digest
from coun.objectives import cross_entropy
from coun.objectives.contrastive.registry import LOSSES, Memory, MoCo
from coun.plans.contrastive_module import second_view_letters
from coun.plans.method import FROZEN, Training

FAST = {"epochs": 2, "batch_size": 32, "lr": 0.02}
CPU = Compute(torch.device("cpu"), "fp32")


def digest(run: coun.Run) -> str:
    return weights_digest(run.model)


def test_on_finetune_it_is_coun(original, split):
    settings = {"weight": 0.7, "temperature": 0.2, "second_view_labels": 0.5}
    whole = coun.unlearn(original, split, "coun", **FAST, **settings)
    module = {"loss": "info_nce", **settings}
    built = coun.unlearn(original, split, "finetune", **FAST, contrast=module)
    assert digest(built) == digest(whole)
    method = coun.contrast(make("finetune", FAST), **settings)
    assert digest(coun.unlearn(original, split, method)) == digest(whole)
    assert built.record["method"]["name"] == "finetune+info_nce"
    assert built.record["method"]["settings"]["contrast"]["temperature"] == 0.2


def test_at_weight_0_it_is_the_method_itself(original, split):
    plain = coun.unlearn(original, split, "not", **FAST)
    for loss in ("info_nce", "moco"):
        run = coun.unlearn(original, split, "not", **FAST, contrast={"loss": loss, "weight": 0})
        assert digest(run) == digest(plain)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_trains_and_repeats(original, split, loss):
    runs = [
        coun.unlearn(original, split, "finetune", **FAST, contrast={"loss": loss, "weight": 0.1})
        for _ in range(2)
    ]
    plain = coun.unlearn(original, split, "finetune", **FAST)
    assert digest(runs[0]) == digest(runs[1]) != digest(plain)
    assert runs[0].record["cost"]["flops"] > plain.record["cost"]["flops"]


def test_moco_resumes_to_the_same_bits(original, split, tmp_path, killed_at):
    # Its queue and its momentum encoder are not functions of the weights: they must be saved.
    module = {"loss": "moco", "weight": 0.5, "keys": 64}
    whole = coun.unlearn(original, split, "finetune", **FAST, contrast=module)
    options = coun.Options(checkpoint_every=0)
    common = {"out": tmp_path / "run", "options": options, "contrast": module, **FAST}
    with killed_at(8):
        coun.unlearn(original, split, "finetune", **common)
    assert digest(coun.unlearn(original, split, "finetune", **common)) == digest(whole)


def test_only_the_second_view_takes_other_letters(original, split, small, monkeypatch):
    seen = []
    draw = Views.__call__

    def note(self, images, generator):
        seen.append(self.letters)
        return draw(self, images, generator)

    monkeypatch.setattr(Views, "__call__", note)
    run = coun.unlearn(original, split, "finetune", **FAST, contrast={"views": "CJN"})
    assert set(seen[0::2]) == {small.views.letters}
    assert set(seen[1::2]) == {"CJN"}
    assert run.record["method"]["settings"]["contrast"]["views"] == "CJN"


class Plain:
    """A transform of the user."""

    def __call__(self, images, generator):
        return images.float()

    def evaluate(self, images):
        return images.float()


def test_a_transform_of_the_user_does_not_accept_letters(original, split, small):
    data = replace(small, views=Plain())
    with pytest.raises(coun.CounError, match="letters"):
        coun.unlearn(original.model, split, "finetune", data=data, **FAST, contrast={"views": "CN"})
    with pytest.raises(coun.CounError, match="letters needs coun's own views"):
        make("coun", {"second_view_letters": "CN"}).check(original.model, data, split)
    with pytest.raises(coun.CounError, match="unknown view letter 'X'"):
        make("coun", {"second_view_letters": "X"})


@dataclass(frozen=True, config=FROZEN)
class ForgetOnly(Training):
    """A method that reads forget rows only."""

    name = "forget_only"
    source = "this test"
    reads = frozenset({"forget"})


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        (lambda: ForgetOnly(), {}, "never reads retain rows"),
        (lambda: make("coun"), {}, "it has one already"),
        (lambda: coun.contrast(make("not")), {}, "it has one already"),
        (lambda: make("retrain"), {}, "it is exact"),
        (lambda: make("not"), {"loss": "info_nec"}, "info_nce"),
        (lambda: make("not"), {"temprature": 1}, "temperature"),
        (lambda: make("not"), {"temperature": 0}, "greater than 0"),
        (lambda: make("not"), {"weight": -1}, "weight is -1; expected a number, 0 or more"),
        (lambda: make("not"), {"second_view_labels": "x"}, "second_view_labels is x; expected"),
        (lambda: make("not"), {"second_view_labels": float("nan")}, "expected a number"),
        (
            lambda: make("not"),
            {"second_view_labels": 1, "second_view_gradient": False},
            "leave one of them out",
        ),
        (lambda: make("not"), {"views": "CX"}, "letter 'X'"),
    ],
)
def test_impossible_requests_are_refused_with_the_reason(method, arguments, message):
    with pytest.raises(coun.CounError, match=message):
        coun.contrast(method(), **arguments)


def test_methods_that_do_not_train_are_refused():
    for name, kind in catalogue().items():
        if not kind.trains or "retain" not in kind.reads:
            with pytest.raises(coun.CounError, match="does not accept the contrastive module"):
                coun.contrast(make(name))


def test_only_retain_rows_enter_the_term(small, split, make_task, dropping):
    seen = []
    net = dropping()
    task = make_task(small, net, split, reads=("retain", "forget"))
    loss = LOSSES["supcon"]()

    class Watching(type(loss)):
        def loss(self, a, b, labels):
            seen.append((len(a), labels.clone()))
            return super().loss(a, b, labels)

    mixed = cross_entropy("forget") + cross_entropy("retain")
    phase = Phase(mixed + Watching().objective(), {"forget": 10, "retain": 16})
    Engine(task, CPU).run([Fit((phase,), 1)])
    assert {n for n, _ in seen} == {15, 16}  # 170 retain rows in 11 batches


def test_the_queue_holds_the_latest_keys(small, make_task, original):
    task = make_task(small, original.model)
    memory = Memory(task.teacher(), 5, torch.Generator().manual_seed(0))
    keys = nn.functional.normalize(torch.randn(8, memory.queue.shape[1]), dim=1)
    memory.enqueue(keys[:3])
    memory.enqueue(keys[3:])
    # Three fill places 0 to 2; of the five after them two fill 3 and 4, three begin again.
    torch.testing.assert_close(memory.queue, torch.cat([keys[5:], keys[3:5]]))


def test_the_momentum_encoder_follows(small, make_task, original):
    task = make_task(small, original.model)
    memory = Memory(task.teacher(), 5, torch.Generator().manual_seed(0))
    before = [p.clone() for p in memory.encoder.parameters()]
    model = task.teacher()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    memory.follow(model, MoCo().momentum)
    for old, new in zip(before, memory.encoder.parameters(), strict=True):
        torch.testing.assert_close(new - old, torch.full_like(old, 1 - 0.999), rtol=0, atol=1e-6)


def test_both_views_are_apart_from_the_view_whose_labels_are_learned(original, split):
    def cost(**module):
        run = coun.unlearn(original, split, "finetune", **FAST, contrast={"weight": 0.5, **module})
        return digest(run), run.record["cost"]["forward_images"]

    second, images = cost(views="CN")
    assert cost(views="CN", both_views=True) == (second, images)  # CN is the data's own
    both, more = cost(views="HN", both_views=True)
    assert more == 3 * images // 2
    assert both != cost(views="HN")[0]
    plain = coun.unlearn(original, split, "finetune", **FAST)
    assert cost(views="HN", both_views=True, weight=0) == (digest(plain), images // 2)


def test_both_views_are_those_of_the_letters(original, split):
    """The term is the loss between views 1 and 2, whatever view 0 is."""
    module = coun.contrast(make("finetune", FAST), views="N", both_views=True).module
    seen = {}

    class Context:
        def outputs(self, role, view=0, *, grad=True):
            features = torch.arange(12.0).reshape(4, 3) ** (view + 1)
            seen[view] = features
            return coun.models.Outputs(features, features)

        def gather(self, local):
            return local

        def labels(self, role):
            return torch.zeros(4, dtype=torch.int64)

    (stage,) = module.add_to(
        [Fit((Phase(cross_entropy("retain"), {"retain": 4}),), epochs=1)],
        type("T", (), {"data": original.data, "seeds": coun.seeds.Seeds(0),
                       "teacher": None, "indices": lambda self, role: torch.arange(4)})(),
    )  # fmt: skip
    phase = stage.phases[0]
    assert {number: view.letters for number, view in phase.views.items()} == {1: "N", 2: "N"}
    (_, term) = phase.objective.parts[1]
    value = term(Context())
    assert set(seen) == {1, 2}
    torch.testing.assert_close(value, module.loss.loss(seen[1], seen[2], torch.zeros(4)))


def test_both_views_need_letters(original):
    with pytest.raises(coun.CounError, match="both_views needs views"):
        coun.contrast(make("finetune"), both_views=True)
    with pytest.raises(coun.CounError, match="expected true or false"):
        coun.contrast(make("finetune"), views="CN", both_views="yes")


@pytest.mark.parametrize("per_batch", [False, True])
def test_letters_of_the_second_view_are_those_of_the_module(original, split, small, per_batch):
    plain = replace(small, views=replace(small.views, letters="N"))
    module = coun.contrast(make("finetune", FAST), views="CN", temperature=0.1, directions="sum")
    settings = {"second_view_letters": "CN", "per_batch": per_batch}
    run = coun.unlearn(original.model, split, "coun", data=plain, **FAST, **settings)
    same = coun.unlearn(original.model, split, module, data=plain)
    assert (digest(run) == digest(same)) is not per_batch


def test_images_without_random_views_need_a_second_view_of_their_own(
    original, split, small, caplog
):
    plain = replace(small, views=replace(small.views, letters="N"))
    letters = second_view_letters(plain)
    assert (letters, second_view_letters(small)) == ("CN", None)
    colour = torch.zeros(20, 3, 8, 8, dtype=torch.uint8), torch.arange(20) % 2
    bare = coun.from_arrays(*colour, *colour, views=Views(letters=""))
    assert second_view_letters(bare) == "H"
    coun.unlearn(original.model, split, "coun", data=plain, **FAST)
    assert "--set second_view_letters=CN for coun, --contrast-views CN" in caplog.text
    caplog.clear()
    coun.unlearn(original.model, split, "coun", data=plain, **FAST, second_view_letters=letters)
    assert "identical" not in caplog.text
