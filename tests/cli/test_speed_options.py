"""--profile, --workers and --contrast, as typed."""

from __future__ import annotations

import pytest

TRAIN = ("train", "--data", "digits", "--limit", 200, "--model", "cnn", "--epochs", 1)
MODULE = ("--method", "finetune", "--contrast", "info_nce")
PARTS = ("loading", "augmentation", "forward", "backward", "optimizer")


def test_profile_prints_where_the_time_goes(coun_command) -> None:
    done = coun_command(*TRAIN, "--profile", "--workers", 1, "--out", "run")
    assert done.code == 0, done.err
    assert "where the time went" in done.out
    assert all(part in done.out for part in PARTS)
    shown = coun_command(*TRAIN, "--profile", "--out", "again", "--json").json
    assert set(PARTS) <= set(shown["profile"])
    assert sum(shown["profile"].values()) <= shown["cost"]["seconds"]


def test_contrast_options_add_the_module(coun_command) -> None:
    assert coun_command(*TRAIN, "--out", "original").code == 0
    base = ("unlearn", "original", "--forget-fraction", 0.1, "--set", "epochs=1")
    coun = ("--method", "coun", "--set", "weight=0.5", "--set", "temperature=0.2")
    module = ("--contrast", "info_nce", "--contrast-weight", 0.5, "--contrast-temperature", 0.2)
    one = coun_command(*base, *coun, "--out", "a", "--json").json
    two = coun_command(*base, "--method", "finetune", *module, "--out", "b", "--json").json
    assert one["weights_sha256"] == two["weights_sha256"]
    more = ("--contrast-views", "CJN", "--contrast-set", "second_view_gradient=false")
    three = coun_command(*base, "--method", "finetune", *module, *more, "--out", "c", "--json").json
    settings = three["method"]["settings"]["contrast"]
    assert settings["views"] == "CJN"
    assert settings["second_view_gradient"] is False


def test_contrast_on_the_wrong_method_or_without_a_loss_is_refused(coun_command) -> None:
    assert coun_command(*TRAIN, "--out", "original").code == 0
    base = ("unlearn", "original", "--forget-fraction", 0.1, "--out", "x")
    for arguments, words in (
        (("--method", "coun", "--contrast", "info_nce"), "has one already"),
        (("--method", "finetune", "--contrast", "info_nec"), "info_nce"),
        (("--method", "finetune", "--contrast-temperature", 0.1), "--contrast"),
        (("--method", "finetune", "--contrast-weight", 2), "need --contrast"),
        ((*MODULE, "--contrast-set", "loss=moco"), "--contrast-set has loss"),
        ((*MODULE, "--contrast-set", "weight=3"), "--contrast-set has weight"),
        ((*MODULE, "--contrast-temperature", "inf"), "temperature"),
    ):
        done = coun_command(*base, *arguments)
        assert done.code == 2
        assert words in done.err.splitlines()[-1]
        # Before the error, standard error repeats the request.
        assert done.err.count("coun: ") == 1


@pytest.mark.parametrize("command", ["audit", "evaluate"])
def test_commands_that_only_predict_keep_freed_memory_too(coun_command, monkeypatch, command):
    calls = []
    monkeypatch.setattr("coun.engine.device.keep_freed_memory", lambda: calls.append(command))
    assert coun_command(command, "nowhere").code == 2
    assert calls == [command]
