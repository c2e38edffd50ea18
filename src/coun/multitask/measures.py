"""How each task is measured after unlearning, and the UIS score."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from coun.attacks.efficacy import efficacy_by_feature
from coun.data.subsets import stratified
from coun.engine import predict
from coun.errors import CounError
from coun.metrics import accuracy
from coun.multitask.request import TaskRequest
from coun.multitask.training import MultiTaskRun

MEMBER_SEED = 0  # of the attack's members, as in `coun.runs.measuring`


def measure(run: MultiTaskRun, request: TaskRequest) -> dict[str, dict[str, float]]:
    """Measure *run* task by task, on the pairs of row and task that *request* divides.

    What *run* has forgotten besides counts as forgotten as well.

    Returns: by task, in percent: `retain_accuracy` on rows that stay for the task,
        `unlearn_accuracy` (100 minus the accuracy on rows that go) and `test_accuracy`; and
        `mia_efficacy`, of the SVC on confidences, where rows go and others stay. What has no
        rows is left out.

    >>> import coun
    >>> from coun.multitask import train, three_tasks
    >>> workload = three_tasks(coun.load("digits", limit=50), vehicles=frozenset("01234"))
    >>> request = TaskRequest(workload.data.train.numbers[:5], ("class",))
    >>> sorted(measure(train(workload, "mlp", epochs=1), request))
    ['class', 'kind', 'rotation']
    """
    workload, tasks = run.workload, run.workload.tasks
    forgotten = request.after(run.request).forgotten(workload)
    train = predict(run.classifier, workload.data, workload.data.train).logits
    test = predict(run.classifier, workload.data, workload.data.test).logits
    values: dict[str, dict[str, float]] = {}
    for place, name in enumerate(tasks.names):
        columns, labels = tasks.columns(name), tasks.train[:, place]
        test_labels = tasks.test[:, place]
        stays, goes = ~forgotten[:, place], forgotten[:, place]
        of_task = {"test_accuracy": accuracy(test[:, columns], test_labels)}
        if bool(stays.any()):
            of_task["retain_accuracy"] = accuracy(train[stays][:, columns], labels[stays])
        if bool(goes.any()):
            of_task["unlearn_accuracy"] = 100 - accuracy(train[goes][:, columns], labels[goes])
        if bool(stays.any() and goes.any()):
            size = min(int(stays.sum()), len(test))
            members = stratified(labels[stays], size, MEMBER_SEED)
            others = stratified(test_labels, size, MEMBER_SEED)
            of_task["mia_efficacy"] = efficacy_by_feature(
                *_part(train[stays][:, columns], labels[stays], members),
                *_part(test[:, columns], test_labels, others),
                *(train[goes][:, columns], labels[goes]),
            )["confidence"]
        values[name] = of_task
    return values


def _part(logits: Tensor, labels: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    return logits[rows], labels[rows]


def task_gap(measured: dict[str, float], retrain: dict[str, float]) -> float:
    """Compute the mean distance to Retrain over the measures that a task has, in points.

    >>> task_gap({"test_accuracy": 90.0, "retain_accuracy": 99.0},
    ...          {"test_accuracy": 92.0, "retain_accuracy": 99.0})
    1.0
    """
    return sum(abs(measured[key] - retrain[key]) for key in retrain) / len(retrain)


def unlearning_impact_score(
    original_test: float,
    test: float,
    forget: float,
    request: Literal["random", "class"] = "random",
) -> float:
    """Compute UIS of one task, from accuracies; 0 is ideal, lower is better.

    It takes the Original's test accuracy for what Retrain would have on the forgotten rows, so a
    model that equals Retrain need not have the best score: show it beside the gap, never alone.

    Args:
        original_test: accuracy of the Original on test rows, above 0.
        test, forget: accuracies of the unlearned model on test rows and on the rows that went.
        request: "random" for rows of all classes, "class" where whole classes went.

    Source: the code of OrthoGrad (arXiv 2503.02312), as arXiv 2605.19042 uses it.

    >>> unlearning_impact_score(80.0, 80.0, 80.0)
    0.0
    """
    if original_test <= 0:
        raise CounError(f"the Original's test accuracy is {original_test}; expected above 0")
    aim = original_test if request == "random" else 0.0
    return (abs(original_test - test) + abs(aim - forget)) / (2 * original_test)
