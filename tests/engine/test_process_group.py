"""Two data-parallel processes give the same result as one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coun.engine.batches import steps_per_epoch
from coun.engine.process_group import ProcessGroup
from coun.files import read_json
from coun.methods import catalogue

# Run once by this process, and once by each of two that torchrun starts. Views draw nothing
# and the net has no BatchNorm, so the joint batches are the same.
SCRIPT = """
import sys
import torch
import coun

torch.set_num_threads(1)
digits = coun.load("digits")
x, y = digits.train.images[:70].float() / 255, digits.train.labels[:70]
data = coun.from_arrays(x, y, x[:20], y[:20], classes=[str(i) for i in range(10)])
split = coun.Split.by_index(data, range(10))

def build():
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 24), torch.nn.Tanh(), torch.nn.Linear(24, 10))

torch.manual_seed(0)
out, options = sys.argv[1], coun.Options(precision="fp32", checkpoint_every=0)
run = coun.unlearn(build(), split, "coun", data=data, build=build, out=out, options=options,
                   epochs=3, batch_size=20, lr=0.1, weight=1.0)
"""


def torchrun(script: Path, out: Path, count: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), str(out)]
    if count > 1:
        command[1:1] = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ranks") / "job.py"
    path.write_text(SCRIPT)
    return path


def test_two_ranks_make_the_steps_of_the_joint_batch(script, tmp_path):
    # CoUn's gradient mixes all pairs of the batch, so this holds only if embeddings are
    # gathered with gradient and averaged with the right factor.
    for count in (1, 2):
        done = torchrun(script, tmp_path / str(count), count)
        assert done.returncode == 0, done.stderr
    one, two = (_weights(tmp_path / str(n)) for n in (1, 2))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6)
    records = [read_json(tmp_path / str(n) / "run.json") for n in (1, 2)]
    assert records[1]["compute"]["ranks"] == 2
    assert records[0]["cost"]["samples_seen"] == records[1]["cost"]["samples_seen"]
    assert records[0]["cost"]["flops"] == records[1]["cost"]["flops"]
    assert records[0]["identity"] != records[1]["identity"]


EVERY = """
import json
import torch
import coun
from coun.engine.process_group import ProcessGroup
from coun.methods import catalogue

torch.set_num_threads(1)
data = coun.load("digits", limit=200)
start = coun.prepare(coun.train(data, "mlp", epochs=1), folds=2, repeats=1)
split = coun.Split.random(data, 0.1)
found, ranks = {}, ProcessGroup.current()
for name, kind in catalogue().items():
    epochs = {"epochs": 1} if "epochs" in kind.__dataclass_fields__ else {}
    try:
        mine = coun.unlearn(start, split, name, **epochs).record["weights_sha256"]
        found[name] = ranks.mean([float(ranks.first(lambda: mine) == mine)])
    except coun.CounError as error:
        found[name] = str(error)
if ranks.is_main:
    print(json.dumps(found))
"""


def test_every_method_ends_on_two_ranks_with_the_same_weights(tmp_path):
    path = tmp_path / "every.py"
    path.write_text(EVERY)
    done = torchrun(path, tmp_path, 2)
    assert done.returncode == 0, done.stderr
    computed = json.loads(done.stdout.splitlines()[-1])
    assert set(computed) == set(catalogue())
    refused = {name for name, value in computed.items() if value != [1.0]}
    # A perceptron has no kernels for ct, and no epoch was kept for rewind.
    assert refused == {"amnesiac", "ct", "mu_mis", "rewind"}
    for name in ("amnesiac", "mu_mis"):
        assert "run it without torchrun" in computed[name]


def test_two_ranks_find_a_finished_run(script, tmp_path):
    assert torchrun(script, tmp_path / "run", 2).returncode == 0
    before = (tmp_path / "run" / "run.json").stat().st_mtime_ns
    assert torchrun(script, tmp_path / "run", 2).returncode == 0
    assert (tmp_path / "run" / "run.json").stat().st_mtime_ns == before


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


class Group:
    """The part of Fabric that ProcessGroup uses, without processes."""

    def __init__(self, rank: int, count: int) -> None:
        self.global_rank, self.world_size = rank, count


def test_shards_are_disjoint_and_of_equal_size():
    rows = torch.arange(11)
    shares = [ProcessGroup(Group(r, 3)).shard(rows) for r in range(3)]
    assert [len(s) for s in shares] == [3, 3, 3]
    assert sorted(torch.cat(shares).tolist()) == list(range(9))


def test_a_single_process_changes_nothing():
    rows, alone = torch.arange(5), ProcessGroup()
    assert alone.is_main
    assert torch.equal(alone.shard(rows), rows)
    assert alone.gather(rows) is rows


@pytest.mark.parametrize(
    ("rows", "size", "ranks", "expected"),
    [(10, 5, 1, 2), (11, 5, 1, 3), (3, 2, 1, 1), (13, 5, 2, 3), (14, 4, 2, 3), (3, 8, 2, 1)],
)
def test_no_batch_leaves_a_rank_too_few_rows_for_batchnorm(rows, size, ranks, expected):
    assert steps_per_epoch(rows, size, ranks) == expected


def test_only_one_of_two_processes_prints(tmp_path):
    words = ["train", "--data", "digits", "--limit", "200", "--model", "mlp", "--epochs", "1"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "coun"]
    command = [sys.executable, *launch, *words, "--out", str(tmp_path / "run"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kind"] == "original"  # one document, or this fails
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "model.safetensors",
        "run.json",
        "metrics.json",
        "rows.parquet",
    }


@pytest.mark.parametrize(
    "names", [{"WORLD_SIZE": "2"}, {"WORLD_SIZE": "2", "RANK": "0"}, {"WORLD_SIZE": "two"}]
)
def test_what_another_program_left_in_the_environment_is_no_group(names, monkeypatch, refused):
    """Lightning Fabric would start the program once more, as a second process of a group."""
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    join = ProcessGroup.current.__wrapped__  # without the cache
    with refused(f"WORLD_SIZE={names['WORLD_SIZE']}", "torchrun", "unset"):
        join()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join().count == 1
