import torch

from coun.metrics import svc_efficacy


def test_the_attack_of_the_specification_draws_its_line_at_081():
    # Section 8: of targets 0, .01, ... 1 the first that passes for a member is .81.
    known, other = (torch.linspace(*x, 51, dtype=torch.float64) for x in ((0.9, 1), (0, 0.98)))
    targets = torch.linspace(0, 1, 101, dtype=torch.float64)
    out = [svc_efficacy(known, other, t[None]) == 100 for t in targets[76:86]]
    assert out == [True] * 5 + [False] * 5


def test_scores_that_tell_nothing_give_one_answer_for_all():
    same = torch.full((20,), 0.5)
    assert svc_efficacy(same, same, same) in (0.0, 100.0)
