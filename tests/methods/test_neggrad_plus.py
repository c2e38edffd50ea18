"""NegGrad+: one step equals the formula."""

from __future__ import annotations

from methods.closed_form import ONE_STEP, close, gradient, moved, smooth, still

import coun


def test_one_step_is_the_weighted_difference_of_the_gradients(small, split):
    data, net = still(small), smooth()
    run = coun.unlearn(net, split, "neggrad_plus", data=data, alpha=0.7, **ONE_STEP)
    retain, forget = (gradient(net, data, split.rows(data, r)) for r in ("retain", "forget"))
    close(
        moved(run.model, net),
        [-0.1 * (0.7 * r - 0.3 * f) for r, f in zip(retain, forget, strict=True)],
    )


def test_a_step_costs_six_forward_passes_and_three_at_alpha_1(original, split):
    def images(**settings):
        run = coun.unlearn(original, split, "neggrad_plus", epochs=1, batch_size=30, **settings)
        return run.record["cost"]["trained_images"]

    # 170 retain rows in batches of 30 are six updates, each with all 30 forget rows.
    assert images(alpha=0.9) == 170 + 6 * 30
    assert images(alpha=0.9, forget_batch_size=5) == 170 + 6 * 5
    assert images(alpha=1) == 170
