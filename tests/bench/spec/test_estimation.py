"""What a bench takes, by workload and by seed, and what is refused before it starts."""

from __future__ import annotations

import pytest

import coun
from coun.bench.spec.estimation import AMOUNTS, estimate
from coun.bench.spec.plan import make_plan
from coun.bench.spec.reading import configured, load


def test_seeds_and_workloads_sum_to_the_whole(config_file) -> None:
    memorised = 'kind = "memorised"\nmodels = 2\nlevel = "mix"'  # models that both seeds share
    estimated = estimate(config_file(scenario=memorised), timed=False)
    for parts in (estimated["seeds"], estimated["workloads"], estimated["parts"]):
        for name in AMOUNTS:
            assert sum(p[name] for p in parts) == pytest.approx(estimated["total"][name])
    first, second = estimated["seeds"]
    assert first["experiments"] == second["experiments"] + 3  # two models on halves, and the score


def test_a_part_is_estimated_as_it_would_be_run(config_file) -> None:
    config = config_file()
    part = estimate(config, timed=False, only=["seed=1", "FT"])
    plan = make_plan(load(config)).only(["seed=1", "FT"])
    assert part["total"]["experiments"] == len(plan.experiments)
    with pytest.raises(coun.CounError, match="unknown row 'FTT'"):
        estimate(config, timed=False, only=["FTT"])
    with pytest.raises(coun.CounError, match="unknown workload 'digit'"):
        estimate(config, timed=False, only=["workload=digit"])


def test_a_preparation_counts_once_for_the_rows_that_share_it(config_file) -> None:
    row = '[[method]]\nname = "out_of_fold"\nlabel = "{0}"\nsettings = {{ epochs = 1, lr = {0} }}\n'
    rows = [row.format(lr) for lr in (0.1, 0.2, 0.3)]
    rows[2] += "preparation = { folds = 2, repeats = 1 }\n"

    def flops(*rows: str) -> float:
        total = estimate(config_file(more="".join(rows)), timed=False, only=["seed=0"])["total"]
        return float(total["flops"])

    one, two, three = (flops(*rows[:count]) for count in (1, 2, 3))
    method = two - one  # the second row brings no preparation
    original = 2 * (three - two - method)  # one model of half the rows and half the epochs
    # Two times four models, each of three quarters of the rows and half of the epochs.
    assert one - method - flops() == pytest.approx(8 * 3 / 4 / 2 * original, rel=0.01)


def test_a_small_forget_batch_costs_less(config_file) -> None:
    row = '[[method]]\nname = "neggrad_plus"\nlabel = "N"\nsettings = {{ batch_size = 32{} }}\n'

    def flops(text: str) -> float:
        total = estimate(config_file(more=text), timed=False, only=["seed=0"])["total"]
        return float(total["flops"])

    without = flops("")
    whole, quarter = (flops(row.format(s)) - without for s in ("", ", forget_batch_size = 8"))
    assert flops(row.format(", forget_batch_size = 32")) - without == whole
    assert quarter < 0.75 * whole  # training: 1 + 1/4 rows instead of 1 + 1; measuring: the same


def test_a_stated_throughput_gives_the_seconds(config_file) -> None:
    estimated = estimate(config_file(), tflops=2.0)
    total = estimated["total"]
    assert total["seconds"] == pytest.approx(total["flops"] / 2e12)
    assert "2 TFLOP per second" in estimated["notes"][1]
    for wrong in (float("nan"), float("inf"), 0.0):
        with pytest.raises(coun.CounError, match="tflops is"):
            estimate(config_file(), tflops=wrong)


def test_timing_counts_what_runs_take_besides_their_steps(config_file) -> None:
    total = estimate(config_file())["total"]
    stated = estimate(config_file(), tflops=1e6)["total"]["seconds"]
    assert total["seconds"] > 10 * stated  # a network this small is all overhead


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ('kind = "class"\nname = "eleven"', "unknown class 'eleven'"),
        ('kind = "subclass"\nname = "maple"', "second label column"),
        ('kind = "listed"\nrows = [5000]', "5000"),
        ('kind = "worst_case"\nfraction = 0.999', "leaves nothing to retain"),
        ('kind = "memorised"\nfraction = 0.0001\nmodels = 2', "forgets nothing"),
    ],
)
def test_a_request_that_does_not_fit_the_data_is_refused(config_file, scenario, words) -> None:
    config = config_file(scenario=scenario)
    for use in (lambda: estimate(config, timed=False), lambda: make_plan(load(config))):
        with pytest.raises(coun.CounError, match=words):
            use()


def test_the_error_for_missing_data_says_how_to_name_its_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("COUN_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(coun.CounError, match=r"--data-root DIR or COUN_DATA=DIR \(coun data where"):
        make_plan(load("paper/table8"))


def test_the_folder_of_the_option_comes_before_that_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("COUN_DATA", raising=False)
    assert load("paper/table8").data_root == ("data",)
    monkeypatch.setenv("COUN_DATA", "elsewhere")
    config = load("paper/table8")
    assert config.data_root == ("elsewhere",)
    assert configured(config, False, tmp_path).data_root == (str(tmp_path),)


def test_official_files_below_the_root_are_read_where_the_hub_copy_is_missing(
    tmp_path, monkeypatch
) -> None:
    from coun.bench.spec.workload import data_spec

    monkeypatch.setenv("COUN_DATA", str(tmp_path))
    config = load("paper/fig7_lambda")
    (workload,) = config.workload
    assert data_spec(config, workload).source == f"hf:{tmp_path}/cifar100"
    (tmp_path / "cifar-100-binary").mkdir()
    spec = data_spec(config, workload)
    assert spec.source == f"cifar-binary:{tmp_path}/cifar-100-binary"
    assert spec.options.label_column is None
