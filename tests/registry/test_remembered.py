"""The estimate of the remembered share, on mixtures whose share is known."""

import pytest
import torch

from coun.models import Outputs
from coun.registry.gates import _memory
from coun.registry.remembered import remembered_share
from coun.runs import Predictions


def predictions(generator, *, remembered, forgotten=2_000, rest=4_000, shift=4.0):
    """Two classes; the log-odds of the true class are normal, higher by *shift* if remembered."""
    counts = {"retain": 2 * rest, "test": rest, "forget": forgotten}
    shares = {"retain": 1.0, "test": 0.0, "forget": remembered}
    outputs, labels = {}, {}
    for part, count in counts.items():
        odds = torch.randn(count, generator=generator)
        odds[: round(shares[part] * count)] += shift
        labels[part] = torch.randint(2, (count,), generator=generator)
        logits = torch.zeros(count, 2)
        logits[torch.arange(count), labels[part]] = odds
        outputs[part] = Outputs(logits, torch.zeros(count, 1))
    return Predictions(outputs, labels)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_a_mixture_is_found(share):
    generator = torch.Generator().manual_seed(0)
    found = remembered_share(predictions(generator, remembered=share))
    assert found.share == pytest.approx(share, abs=0.03)
    assert 0 <= found.low <= found.share <= found.high <= 1


@pytest.mark.parametrize(("offset", "harder"), [(0.0, False), (-4.0, True)])
def test_rows_that_are_harder_than_test_rows_are_recognised_and_never_pass(offset, harder):
    """Four of ten rows are remembered; in the second case all are harder by nature."""
    answers = predictions(torch.Generator().manual_seed(4), remembered=0.4)
    labels = answers.labels["forget"]
    answers.outputs["forget"].logits[torch.arange(len(labels)), labels] += offset
    found = remembered_share(answers)
    assert found.harder == harder
    assert (found.share == found.high == 0) == harder
    for largest in (None, 0.5):
        check = _memory(found, largest, exact=False)
        assert (check.result == "PASSED") == (not harder and largest is not None)
        assert ("harder than test rows" in check.name) == harder
        assert (check.value is None) == harder


def test_fewer_rows_give_a_wider_interval():
    generator = torch.Generator().manual_seed(1)
    many, few = (
        remembered_share(predictions(generator, remembered=0.5, forgotten=count))
        for count in (2_000, 20)
    )
    assert few.high - few.low > 3 * (many.high - many.low)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_interval_holds_the_share_about_as_often_as_it_says(share):
    generator = torch.Generator().manual_seed(3)
    draws = [predictions(generator, remembered=share, rest=100, shift=2.0) for _ in range(200)]
    found = [remembered_share(draw) for draw in draws]
    holds = [one.low <= share + 1e-9 and one.high >= share - 1e-9 for one in found]
    assert sum(holds) / len(holds) > 0.85


def test_where_no_memory_can_show_there_is_no_estimate():
    generator = torch.Generator().manual_seed(2)
    answers = predictions(generator, remembered=0.5)
    alike = {part: Outputs(0 * o.logits, o.features) for part, o in answers.outputs.items()}
    assert remembered_share(Predictions(alike, answers.labels)) is None
    del answers.labels["forget"]
    assert remembered_share(answers) is None


@pytest.mark.parametrize("known", [0.0, 0.25, 1.0])
def test_rows_of_a_class_that_went_whole_are_remembered_if_they_still_get_its_name(known):
    """Test rows of the class are known just as well, so that they show no difference."""
    generator = torch.Generator().manual_seed(4)
    answers = predictions(generator, remembered=0.0, forgotten=400)
    mixed = predictions(generator, remembered=0.5, forgotten=400)
    for part in ("forget", "test"):
        labels = torch.full((400,), 2)
        logits = torch.zeros(400, 3)
        logits[:, 2] = torch.where(torch.arange(400) < 400 * known, 5.0, -5.0)
        for given, keep in ((answers, part == "test"), (mixed, True)):
            before = torch.cat(
                [given.outputs[part].logits, torch.full((len(given.labels[part]), 1), -9.0)], 1
            )
            count = len(before) if keep else 0
            given.labels[part] = torch.cat([given.labels[part][:count], labels])
            both = torch.cat([before[:count], logits])
            given.outputs[part] = Outputs(both, torch.zeros(len(both), 1))
    for given in (answers, mixed):
        kept = given.outputs["retain"].logits
        wide = torch.cat([kept, torch.full((len(kept), 1), -9.0)], 1)
        given.outputs["retain"] = Outputs(wide, torch.zeros(len(wide), 1))
    found = remembered_share(answers)
    assert found.share == pytest.approx(known)
    assert found.low <= known <= found.high
    assert remembered_share(mixed).share == pytest.approx((known + 0.5) / 2, abs=0.05)
