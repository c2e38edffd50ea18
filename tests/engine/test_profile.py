"""The profile: times of parts add up, and nothing is measured unless it is switched on."""

import time

import pytest
import torch

import coun
from coun.engine.profile import Profile

CPU = torch.device("cpu")


def test_an_inner_part_does_not_count_for_the_outer_part(monkeypatch):
    clock = iter([0.0, 1.0, 4.0, 10.0])  # outer in, inner in, inner out, outer out
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    profile = Profile(True, CPU)
    with profile.part("outer"), profile.part("inner"):
        pass
    assert profile.seconds == {"inner": 3.0, "outer": 7.0}


def test_parts_of_the_same_name_add_up_and_others_stay_separate(monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 5.0, 6.0, 8.0, 9.0, 12.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    profile = Profile(True, CPU)
    with profile.part("outer"):  # 0 .. 12
        with profile.part("inner"):  # 1 .. 2
            pass
        with profile.part("inner"):  # 5 .. 6
            pass
        with profile.part("other"):  # 8 .. 9
            pass
    assert profile.seconds == {"inner": 2.0, "other": 1.0, "outer": 9.0}


def test_a_profile_that_is_off_measures_nothing():
    profile = Profile(False, CPU)
    with profile.part("outer"):
        pass
    assert profile.seconds == {}


@pytest.mark.parametrize("on", [True, False])
def test_a_run_records_its_profile_if_the_option_is_set(small, split, original, on):
    options = coun.Options(profile=on)
    run = coun.unlearn(original, split, "coun", epochs=2, options=options)
    assert ("profile" in run.record) == on
    if on:
        parts = run.record["profile"]
        assert {"loading", "augmentation", "forward", "backward", "optimizer"} <= set(parts)
        assert 0 < sum(parts.values()) <= run.record["cost"]["seconds"] * 1.001
