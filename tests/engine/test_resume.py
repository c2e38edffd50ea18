"""A run that is killed and started again ends with the same bits as an uninterrupted run."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import coun
from coun.engine import Checkpoint, Edit
from coun.engine.checkpoint import pack, unpack
from coun.errors import CounError
from coun.methods.finetune import FineTune
from coun.methods.no_t import negate

EAGER = coun.Options(checkpoint_every=0)


class Killed(BaseException):
    """Simulates a SIGKILL: nothing in the package may catch it."""


class ThreeStages(FineTune):
    """A method with three stages: Fit, Edit, Fit."""

    name = "three-stages"

    def plan(self, model, task):
        yield from super().plan(model, task)
        first = next(n for n, p in model.named_parameters() if p.ndim > 1)
        yield Edit("negate", lambda m: negate(m, (first,)))
        yield from super().plan(model, task)


def kill_at_save(monkeypatch, count, *, after=True):
    """Die at checkpoint number *count*, after it is written or just before."""
    real, calls = Checkpoint.save, []

    def save(self, *args):
        calls.append(args)
        if len(calls) < count or after:
            real(self, *args)
        if len(calls) == count:
            raise Killed

    monkeypatch.setattr(Checkpoint, "save", save)


def check(monkeypatch, tmp_path, call, points, *, after=True):
    """*call(out)* killed at each of *points* and called again equals *call(None)*."""
    whole = call(None)
    for point in points:
        out = tmp_path / f"{point}-{after}"
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at_save(patch, point, after=after)
            call(out)
        assert not (out / "model.safetensors").exists()
        again = call(out)
        assert again.record["weights_sha256"] == whole.record["weights_sha256"], point
        assert again.record["history"] == whole.record["history"], point
        assert not (out / "checkpoint").exists()
        for name in ("steps", "samples_seen", "forward_images", "trained_images", "flops"):
            assert again.record["cost"][name] == whole.record["cost"][name], (point, name)


# 170 retain rows in batches of 64 make 3 updates an epoch; two saves more end the stage.
@pytest.mark.parametrize("after", [True, False])
def test_a_run_killed_at_any_save_resumes_to_the_same_bits(
    monkeypatch, tmp_path, original, split, after
):
    def call(out):
        return coun.unlearn(original, split, "coun", epochs=2, out=out, options=EAGER)

    check(monkeypatch, tmp_path, call, range(1, 9), after=after)


@pytest.mark.parametrize(
    "settings", [{"optimizer": "adamw", "lr": 1e-3}, {"momentum": 0.0}, {"schedule": "constant"}]
)
def test_a_killed_run_resumes_with_another_optimizer(
    monkeypatch, tmp_path, original, split, settings
):
    def call(out):
        return coun.unlearn(
            original, split, "finetune", epochs=2, out=out, options=EAGER, **settings
        )

    check(monkeypatch, tmp_path, call, (1, 4))


def test_a_killed_run_with_dropout_resumes_to_the_same_bits(monkeypatch, tmp_path, small, dropping):
    def call(out):
        return coun.train(small, dropping, epochs=2, out=out, options=EAGER)

    check(monkeypatch, tmp_path, call, (1, 5))


# Saves: 1-3 and 4-5 in and at the end of the first fit, 6-8 and 9-10 of the second.
def test_a_plan_of_three_stages_resumes_to_the_same_bits(monkeypatch, tmp_path, original, split):
    def call(out):
        return coun.unlearn(original, split, ThreeStages(epochs=1), out=out, options=EAGER)

    check(monkeypatch, tmp_path, call, range(1, 11))


def test_a_run_killed_more_than_once_resumes_to_the_same_bits(
    monkeypatch, tmp_path, original, split
):
    def call(out):
        return coun.unlearn(original, split, "not", epochs=2, out=out, options=EAGER)

    for _ in range(3):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at_save(patch, 2)
            call(tmp_path / "run")
    again = call(tmp_path / "run")
    assert again.record["weights_sha256"] == call(None).record["weights_sha256"]


@pytest.mark.parametrize("name", ["save_weights", "write_record"])
def test_a_run_killed_while_its_result_is_written_resumes(
    monkeypatch, tmp_path, original, split, name
):
    def call(out):
        return coun.unlearn(original, split, "finetune", epochs=1, out=out, options=EAGER)

    def die(*args):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(f"coun.runs.execution.{name}", die)
        call(tmp_path / "run")
    again = call(tmp_path / "run")
    assert again.record["weights_sha256"] == call(None).record["weights_sha256"]


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
import coun
data = coun.load("digits")
print("ready", flush=True)
coun.train(data, "cnn", epochs=2, out=sys.argv[1], options=coun.Options(checkpoint_every=0))
"""


def test_a_run_killed_by_a_signal_resumes_to_the_same_bits(tmp_path, digits):
    source = str(Path(coun.__file__).parents[1])
    whole = coun.train(digits, "cnn", epochs=2)
    for attempt in range(5):
        out = tmp_path / str(attempt)
        command = [sys.executable, "-c", SCRIPT, str(out)]
        environment = {**os.environ, "PYTHONPATH": source}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            while not (out / "checkpoint/step.safetensors").exists() and process.poll() is None:
                time.sleep(0.001)
            time.sleep(random.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        if process.returncode == -signal.SIGKILL and not (out / "model.safetensors").exists():
            break
    else:
        pytest.skip("the machine was too fast to kill the run midway")
    again = coun.train(digits, "cnn", epochs=2, out=out, options=EAGER)
    assert again.record["weights_sha256"] == whole.record["weights_sha256"]
    assert again.record["history"] == whole.record["history"]


@pytest.mark.parametrize("cut", [0, 3, 20, -1])
def test_an_incomplete_checkpoint_is_refused(tmp_path, cut):
    checkpoint = Checkpoint(tmp_path, "me")
    checkpoint.save("step", {"a": torch.ones(100)}, {})
    path = tmp_path / "step.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CounError, match="is damaged; delete") as caught:
        checkpoint.load("step")
    assert "\n" not in str(caught.value)


def test_optimizer_state_keeps_the_layout_of_convolutions(tmp_path):
    # A channels-last weight and a contiguous momentum would be paired element by element.
    def make():
        torch.manual_seed(0)
        net = nn.Conv2d(8, 8, 3).to(memory_format=torch.channels_last)
        return net, torch.optim.SGD(net.parameters(), 0.1, 0.9, fused=True)

    x = torch.randn(2, 8, 5, 5).contiguous(memory_format=torch.channels_last)

    def update(net, sgd):
        net(x).square().sum().backward()
        sgd.step()
        sgd.zero_grad()

    net, sgd = make()
    update(net, sgd)
    checkpoint = Checkpoint(tmp_path, "me")
    checkpoint.save("step", pack(net, (), [sgd]), {})
    other, its = make()
    unpack(checkpoint.load("step")[0], other, (), [its])
    update(net, sgd)
    update(other, its)
    assert torch.equal(net.weight, other.weight)
