"""DELETE: its loss and one step against the closed form."""

from __future__ import annotations

import torch
from methods.closed_form import ONE_STEP, close, moved, smooth, still

import coun
from coun.methods.delete import without_true_class


def test_the_loss_is_a_loop_over_the_other_classes() -> None:
    z, t, y = torch.randn(7, 4), torch.randn(7, 4), torch.arange(7) % 4
    total = 0.0
    for row in range(7):
        others = [c for c in range(4) if c != y[row]]
        q = t[row, others].double().exp()
        q /= q.sum()
        p = z[row].double().softmax(0)[others]
        total += float((q * (q / p).log()).sum())
    torch.testing.assert_close(without_true_class(z, t, y).item(), total / 7, rtol=1e-5, atol=1e-6)


def test_one_step_moves_logits_from_the_true_class_to_the_others_odds(small, split) -> None:
    data, net = still(small), smooth()
    run = coun.unlearn(net, split, "delete", data=data, **ONE_STEP)
    rows = split.rows(data, "forget")
    logits = net(data.views.evaluate(data.train.fetch(rows)))
    with torch.no_grad():
        q = logits.clone()
        q[torch.arange(len(rows)), data.train.labels[rows]] = -torch.inf
        slope = (logits.softmax(1) - q.softmax(1)) / len(rows)
    gradients = torch.autograd.grad(logits, list(net.parameters()), slope)
    close(moved(run.model, net), [-ONE_STEP["lr"] * g for g in gradients])
