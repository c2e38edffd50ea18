"""`coun fulfil` says what its tests show, and what they do not."""

from __future__ import annotations

import re

from safetensors.torch import load_file

from coun.runs import rows_of_run


def test_a_version_that_forgot_nothing_says_that_no_test_shows_forgetting(
    coun_command, tmp_path
) -> None:
    words = ("--data", "digits", "--limit", 400, "--model", "mlp", "--set", "epochs=20")
    assert coun_command("train", *words, "--out", "original").code == 0
    assert coun_command("registry", "init", "requests", "--from", "original").code == 0
    ids = [row.id for row in rows_of_run("original") if row.part == "train"][:40]
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    assert coun_command("request", "add", "requests", "--ids", "ids.txt").code == 0
    assert coun_command("request", "withdraw", "requests", 1).code == 0  # to move the due date
    due = ("--received", "2026-11-01", "--due", "2026-12-24")
    added = coun_command("request", "add", "requests", "--ids", "ids.txt", *due)
    assert "due 2026-12-24" in added.out
    settings = ("--set", "epochs=1", "--set", "lr=1e-7")
    served = coun_command("fulfil", "requests", "--method", "finetune", *settings)
    assert served.code == 0, served.err
    before, after = (
        load_file(tmp_path / "requests" / "versions" / str(n) / "model.safetensors") for n in (1, 2)
    )
    assert all((before[name] - after[name]).abs().max() < 1e-3 for name in before)
    assert "none of these tests shows that the rows are forgotten" in served.out
    advice = re.search(r"coun (registry rollback requests), then coun (.*)", served.out)
    assert advice is not None
    page = (tmp_path / "requests/certificates/2/certificate.html").read_text()
    assert "None shows that the rows are forgotten." in page
    assert "coun registry rollback" in coun_command("fulfil", "requests").err  # nothing is open
    assert coun_command(*advice[1].split()).code == 0
    again = coun_command(*advice[2].split())
    assert again.code == 0, again.err
    assert "request 2: FULFILLED_BY_RETRAINING" in again.out
    assert "none of these tests" not in again.out
