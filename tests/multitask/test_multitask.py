"""Rows x tasks: the workload, masked losses, exact Retrains, and what an update leaves alone."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import coun
from coun.errors import CounError
from coun.multitask import (
    InterferenceAware,
    MultiTaskData,
    TaskRequest,
    Tasks,
    measure,
    three_tasks,
    train,
    unlearn,
    unlearning_impact_score,
)
from coun.multitask.measures import task_gap
from coun.multitask.training import mean_by_task, rows_and_pairs, task_losses
from coun.multitask.unlearning import (
    _Step,
    flat_gradient,
    parameters_by_part,
    task_gradients,
    unserved_tasks,
)
from coun.objectives import BatchContext
from coun.objectives.context import Batch


def test_the_bed_turns_images_and_labels_them(small, workload):
    tasks = workload.tasks
    assert torch.equal(tasks.train[:, 0], small.train.labels)
    kinds = [int(name in "01234") for name in small.classes]
    assert tasks.train[:, 1].tolist() == [kinds[y] for y in small.train.labels.tolist()]
    assert tasks.train[:, 2].bincount().min() > 20
    for row in range(8):
        back = torch.rot90(workload.data.train.images[row], -int(tasks.train[row, 2]), (-2, -1))
        assert torch.equal(back, small.train.images[row])
    assert "H" not in workload.data.views.letters


def test_what_is_printed_is_a_few_lines_without_tensors(small, start, workload):
    """A notebook shows the value of its last line."""
    numbers = small.train.numbers
    request = TaskRequest(numbers[:2], ("class",)).after(TaskRequest(numbers[:1], ("kind",)))
    expected = ["Request: 2 rows for class", "  after Request: 1 row for kind"]
    assert repr(request).splitlines() == expected
    assert repr(workload).startswith("Tasks: class (10 classes), kind (2 classes), rotation (4 ")
    run = replace(start, request=request)
    weights = sum(weight.numel() for weight in start.classifier.parameters())
    assert f"{weights:,} weights" in repr(run)
    assert all(line.strip() in repr(run) for line in repr(workload).splitlines() + expected)
    for value in (request, workload, workload.tasks, run):
        assert "tensor" not in repr(value)
        assert len(repr(value).splitlines()) < 9


def test_heads_are_blocks_of_one_layer(start, workload):
    """The same outputs and gradients as three linear layers."""
    torch.manual_seed(0)
    features = torch.randn(5, start.classifier.in_features, requires_grad=True)
    head = start.classifier.head
    whole = head(features)
    for name in workload.tasks.names:
        columns = workload.tasks.columns(name)
        alone = F.linear(features, head.weight[columns], head.bias[columns])
        torch.testing.assert_close(whole[:, columns], alone)
        gradients = [
            torch.autograd.grad(x.square().sum(), features, retain_graph=True)[0]
            for x in (whole[:, columns], alone)
        ]
        torch.testing.assert_close(*gradients)


def test_losses_beside_a_naive_loop(workload):
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 16), workload.tasks.train[:6]
    pairs = torch.rand(6, 3) < 0.6
    pairs[:, 2] = False  # a task without any active row
    expected = 0.0
    for place, name in enumerate(workload.tasks.names):
        part = logits[:, workload.tasks.columns(name)]
        active = [r for r in range(6) if pairs[r, place]]
        values = [-part[r].log_softmax(0)[labels[r, place]] for r in active]
        expected += sum(values) / len(values) if values else 0.0
    losses = task_losses(logits, labels, pairs, workload.tasks)
    torch.testing.assert_close(mean_by_task(losses, pairs), expected)
    cut = task_losses(100 * logits, labels, torch.ones(6, 3).bool(), workload.tasks, limit=True)
    assert cut.max(0).values.tolist() == pytest.approx(
        [torch.tensor(float(n)).log().item() for n in (10, 2, 4)]
    )


def test_a_partial_retrain_keeps_rows_and_never_uses_their_label(
    workload, request_of_a_task, weights
):
    """Other labels of the forgotten pairs give the same model; other labels of the rest do not."""
    rows, pairs = rows_and_pairs(workload, request_of_a_task, "retain")
    assert len(rows) == len(workload.data.train)
    assert pairs[:, 0].sum() == len(rows) - 30
    assert pairs[:, 1:].all()

    def retrain(**changes):
        labels = workload.tasks.train.clone()
        for place, new in changes.values():
            labels[20:50, place] = new
        tasks = Tasks(workload.tasks.names, workload.tasks.sizes, labels, workload.tasks.test)
        other = type(workload)(workload.data, tasks)
        return weights(train(other, "mlp", request=request_of_a_task, epochs=1))

    plain = retrain()
    assert torch.equal(plain, retrain(label=(0, 0)))
    assert not torch.equal(plain, retrain(label=(2, 0)))


def test_a_full_retrain_does_not_read_the_rows(workload, weights):
    full = TaskRequest(workload.data.train.numbers[20:50], workload.tasks.names)
    rows, pairs = rows_and_pairs(workload, full, "retain")
    assert len(rows) == len(workload.data.train) - 30
    assert pairs.all()
    assert not set(rows.tolist()) & set(range(20, 50))


def test_original_and_retrain_start_from_different_weights(workload, request_of_a_task, weights):
    runs = [train(workload, "mlp", request=r, epochs=1, lr=1e-9) for r in (None, request_of_a_task)]
    assert (weights(runs[0]) - weights(runs[1])).norm() > 1


def context_of(run, step, size=32):
    """The batches of one step, without random views."""
    batches = {}
    for role, (rows, _) in step.rows.items():
        slots = torch.arange(min(size, len(rows)))
        train = run.workload.data.train.take(rows[slots])
        batches[role] = Batch(train.images, train.labels, slots)
    views = run.workload.data.views
    return BatchContext(
        run.classifier,
        batches,
        view=lambda role, number, images: views.evaluate(images),
        forward=lambda model, x: model(x),
    )


def gradient_of(step, run):
    run.classifier.train()
    run.classifier.zero_grad()
    step(context_of(run, step)).backward()
    shared, heads = parameters_by_part(run)
    run.classifier.eval()
    return [torch.cat([p.grad.flatten() for p in part]) for part in (shared, heads)]


@pytest.fixture
def trial(start, workload, request_of_a_task):
    from coun.multitask.training import copied

    return copied(start, request_of_a_task, "interference_aware", 0)


def test_without_projections_the_step_is_the_difference_of_gradients(trial, request_of_a_task):
    how = InterferenceAware(alpha=0.7, across_tasks=False, across_rows=False)
    step = _Step(trial, request_of_a_task, how)
    shared, heads = gradient_of(step, trial)
    trial.classifier.train()
    context = context_of(trial, step)
    total = 0.0
    for role, sign, limit in (("retain", 0.7, False), ("forget", -0.3, True)):
        rows, pairs = step.rows[role]
        slots = context.slots(role)
        logits, labels = context.outputs(role).logits, trial.workload.tasks.train[rows[slots]]
        losses = task_losses(logits, labels, pairs[slots], trial.workload.tasks, limit=limit)
        total = total + sign * mean_by_task(losses, pairs[slots])
    expected = flat_gradient(total, [p for part in parameters_by_part(trial) for p in part])
    torch.testing.assert_close(torch.cat([shared, heads]), expected, rtol=1e-4, atol=1e-6)


def test_the_ascent_leaves_staying_tasks_and_rows_alone(trial, request_of_a_task, make_task):
    """The projected part of the step is orthogonal to gradients of tasks and of pieces of rows."""
    torch.manual_seed(0)
    how = InterferenceAware(alpha=0.5, energy=1.0, batches=4)
    step = _Step(trial, request_of_a_task, how)
    task = make_task(trial.workload.data, trial.classifier.inner)
    from coun.engine import Fit, Phase
    from coun.objectives import cross_entropy

    next(step.stages(task, Fit((Phase(cross_entropy(), {"retain": 16}),), 1)))
    directions = [task_gradients(trial, task, name, 16, 4) for name in ("kind", "rotation")]
    assert step.staying == ["kind", "rotation"]
    with_both, heads = gradient_of(step, trial)
    step.how = InterferenceAware(alpha=1.0)
    toward, toward_heads = gradient_of(step, trial)
    ascent, ascent_heads = 0.5 * toward - with_both, 0.5 * toward_heads - heads
    assert ascent.norm() > 0
    trial.classifier.train()
    context = context_of(trial, step)
    slots, (rows, pairs) = context.slots("retain"), step.rows["retain"]
    logits, labels = context.outputs("retain").logits, trial.workload.tasks.train[rows[slots]]
    per_row = task_losses(logits, labels, pairs[slots], trial.workload.tasks).sum(1)
    shared, _ = parameters_by_part(trial)
    directions.append(torch.stack([flat_gradient(x.sum(), shared) for x in per_row.chunk(4)]))
    for part in directions:
        assert ((part @ ascent) / (part.norm(dim=1) * ascent.norm())).abs().max() < 1e-3
    # Only the block of the task that goes moves away, in the weights and in the biases.
    size, width = trial.workload.tasks.sizes[0], trial.classifier.in_features
    moved = ascent_heads[: 16 * width].view(16, width).abs().sum(1)
    assert moved[:size].sum() > 0
    assert moved[size:].max() < 1e-6
    assert ascent_heads[16 * width :][size:].abs().max() < 1e-6


def test_methods_forget_without_changing_the_start(start, request_of_a_task, weights):
    before = weights(start)
    for method in ("finetune", "gradient_difference", "interference_aware"):
        run = unlearn(start, request_of_a_task, method, epochs=1)
        assert run.method == method
        assert run.cost.flops > 0
        assert torch.isfinite(weights(run)).all()
        assert not torch.equal(weights(run), before)
    assert torch.equal(weights(start), before)


def test_a_task_that_no_row_serves_gets_a_fresh_head_that_nothing_trains(start, workload):
    whole = TaskRequest(workload.data.train.numbers, ("rotation",))
    columns = workload.tasks.columns("rotation")

    def head(**options):
        run = unlearn(start, whole, epochs=1, **options)
        return run.classifier.head.weight.detach()

    def cosine(a, b):
        return float(F.cosine_similarity(a[columns].flatten(), b[columns].flatten(), dim=0))

    before = start.classifier.head.weight.detach()
    still, trained = head(lr=1e-6), head(lr=0.05)
    assert abs(cosine(before, still)) < 0.5
    torch.testing.assert_close(before[: columns.start], still[: columns.start], atol=1e-3, rtol=0)
    assert cosine(still, trained) > 0.9999  # weight decay only makes it shorter
    kept = InterferenceAware(alpha=1.0, pieces=1, batches=1, fresh_heads=False)
    assert cosine(before, head(lr=1e-6, settings=kept)) > 0.999
    part = replace(start, request=TaskRequest(workload.data.train.numbers[:9], ("rotation",)))
    assert unserved_tasks(part) == []


def test_the_backward_passes_of_the_pieces_are_counted(start, request_of_a_task):
    """One epoch; the rows that stay pass once forward and once for each piece backward."""
    without = InterferenceAware(across_tasks=False, across_rows=False)
    rows_only = InterferenceAware(across_tasks=False, pieces=3)
    costs = [
        unlearn(start, request_of_a_task, epochs=1, settings=how).cost
        for how in (without, rows_only)
    ]
    retained = len(start.workload.data.train)
    a_pass = costs[0].flops / (3 * costs[0].forward_images)
    assert costs[1].flops - costs[0].flops == pytest.approx(2 * 3 * retained * a_pass)


def test_a_run_is_repeated_to_the_bit(start, request_of_a_task, weights):
    runs = [unlearn(start, request_of_a_task, epochs=1, seed=3) for _ in range(2)]
    assert torch.equal(*map(weights, runs))


@pytest.mark.parametrize("method", ["finetune", "gradient_difference", "interference_aware"])
def test_a_second_request_never_reads_what_the_first_one_forgot(start, workload, weights, method):
    """Other images and labels in the rows of the first request change nothing."""
    numbers, names = workload.data.train.numbers, workload.tasks.names
    first = unlearn(start, TaskRequest(numbers[:30], names), "finetune", epochs=1)
    images, labels = workload.data.train.images.clone(), workload.tasks.train.clone()
    images[:30] = 0
    labels[:30] = 0
    other = MultiTaskData(
        replace(workload.data, train=replace(workload.data.train, images=images)),
        replace(workload.tasks, train=labels),
    )
    second = TaskRequest(numbers[40:50], ("class",))
    runs = [
        unlearn(replace(first, workload=either), second, method, epochs=1)
        for either in (workload, other)
    ]
    assert torch.equal(*map(weights, runs))
    retrain = train(workload, "mlp", request=runs[0].request, epochs=1)
    again = train(other, "mlp", request=runs[0].request, epochs=1)
    assert torch.equal(*map(weights, (retrain, again)))
    goes = runs[0].request.forgotten(workload)
    assert goes.sum(0).tolist() == [40, 30, 30]
    logits = coun.engine.predict(runs[0].classifier, workload.data, workload.data.train).logits
    right = logits[:, :10].argmax(1) == workload.tasks.train[:, 0]
    for asked in (second, runs[0].request):
        accuracy = measure(runs[0], asked)["class"]["retain_accuracy"]
        assert accuracy == pytest.approx(100 * right[~goes[:, 0]].float().mean())


def test_a_task_that_an_earlier_request_took_away_stays_away(start, workload):
    numbers = workload.data.train.numbers
    first = unlearn(start, TaskRequest(numbers, ("rotation",)), epochs=1)
    second = unlearn(first, TaskRequest(numbers[:20], ("class",)), epochs=1)
    assert unserved_tasks(second) == ["rotation"]
    with pytest.raises(CounError, match="every row for every task"):
        unlearn(second, TaskRequest(numbers, ("class", "kind")), epochs=1)


def test_measures_are_of_the_pairs(start, workload, request_of_a_task):
    values = measure(start, request_of_a_task)
    assert set(values["class"]) == {
        "retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy"
    }  # fmt: skip
    assert set(values["kind"]) == {"retain_accuracy", "test_accuracy"}
    logits = coun.engine.predict(start.classifier, workload.data, workload.data.train).logits
    right = logits[20:50, :10].argmax(1) == workload.tasks.train[20:50, 0]
    assert values["class"]["unlearn_accuracy"] == pytest.approx(100 - 100 * right.float().mean())
    whole = measure(start, TaskRequest(workload.data.train.numbers, ("class",)))
    assert set(whole["class"]) == {"unlearn_accuracy", "test_accuracy"}
    assert task_gap(values["kind"], values["kind"]) == 0


def test_uis_of_its_definition():
    assert unlearning_impact_score(80, 76, 90) == pytest.approx(0.5 * (4 / 80 + 10 / 80))
    assert unlearning_impact_score(80, 76, 12, "class") == pytest.approx(0.5 * (4 / 80 + 12 / 80))
    with pytest.raises(CounError, match="expected above 0"):
        unlearning_impact_score(0, 1, 1)


@pytest.mark.parametrize(
    ("rows", "tasks", "message"),
    [
        ([0], ("clas",), "did you mean 'class'"),
        ([9999], ("class",), "row 9999 is not a training row"),
        ([], ("class",), "names no row or no task"),
    ],
)
def test_requests_that_do_not_fit_are_refused(workload, rows, tasks, message):
    with pytest.raises(CounError, match=message):
        TaskRequest(rows, tasks).pairs(workload)


def test_mistakes_are_refused(workload, start, request_of_a_task):
    with pytest.raises(CounError, match="every row for every task"):
        TaskRequest(workload.data.train.numbers, workload.tasks.names).forgotten(workload)
    with pytest.raises(CounError, match="unknown multi-task method 'finetun'"):
        unlearn(start, request_of_a_task, "finetun")
    with pytest.raises(CounError, match="alpha is 2"):
        InterferenceAware(alpha=2)
    with pytest.raises(CounError, match="some of them, and not all"):
        three_tasks(workload.data, vehicles=frozenset("0123456789"))


def test_labels_that_do_not_fit_are_refused(small):
    """The loss would ignore -100, and other rows than the data's would get the labels."""
    rows, others = len(small.train), len(small.test)
    train_labels, test_labels = torch.zeros(rows, 1).long(), torch.zeros(others, 1).long()
    for wrong in (train_labels - 100, train_labels + 2, train_labels.float(), train_labels[:, 0]):
        with pytest.raises(CounError, match="label"):
            Tasks(("side",), (2,), wrong, test_labels)
    with pytest.raises(CounError, match="label of every row"):
        MultiTaskData(small, Tasks(("side",), (2,), train_labels[1:], test_labels))


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"epochs": 1.5}, {"batch_size": 0}, {"lr": -1}, {"lr": float("nan")}]
)
def test_numbers_that_cannot_train_are_refused(workload, start, request_of_a_task, wrong):
    name = next(iter(wrong))
    with pytest.raises(CounError, match=f"{name} is"):
        train(workload, "mlp", **wrong)
    with pytest.raises(CounError, match=f"{name} is"):
        unlearn(start, request_of_a_task, "finetune", **wrong)
