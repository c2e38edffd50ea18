"""Interrupts, faults and odd paths: one line each, and never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import click
import pytest

import coun
from coun.cli import app, process
from coun.errors import CounError
from coun.files import expanded
from coun.runs import Options

TRAIN = ("train", "--data", "digits", "--model", "mlp", "--epochs", "9999", "--out")


@pytest.mark.parametrize(("number", "after"), [(signal.SIGINT, 0.15), (signal.SIGTERM, 0.6)])
def test_an_interrupt_in_the_first_seconds_is_one_line(tmp_path, unmeasured, number, after):
    words = [sys.executable, "-m", "coun", *TRAIN, str(tmp_path / "run")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=unmeasured)
    try:
        time.sleep(after)  # somewhere in the imports, or in the first epochs
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in errors
    assert process.returncode in (130, -number)  # before Python installs any handler
    if process.returncode == 130:
        assert errors.splitlines()[-1].startswith("coun: interrupted; ")


def test_a_fault_of_coun_is_one_line(capsys, monkeypatch):
    @click.command()
    def fail() -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("sys.argv", ["coun"])
    assert process.run(fail) == process.INTERNAL
    err = capsys.readouterr().err
    assert err.startswith("coun: unexpected RuntimeError: two lines; ")
    assert err.count("\n") == 1
    monkeypatch.setenv("COUN_DEBUG", "1")
    with pytest.raises(RuntimeError):
        process.run(fail)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train", "repeat the command to go on"),
        ("bench demo", "repeat the command to go on"),
        ("bench plan", "nothing was changed"),
        ("evaluate", "nothing was changed"),
    ],
)
def test_the_line_after_an_interrupt_fits_the_command(capsys, monkeypatch, command, words):
    @click.command()
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["coun", *command.split()])
    monkeypatch.setattr(stop, "main", lambda **_: stop.callback())
    assert process.run(stop) == process.INTERRUPTED
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("path", ["~nouser-at-all/x", "caf\udce9", "a\0b"])
def test_odd_paths_are_refused(coun_command, path):
    with pytest.raises(CounError) as caught:
        expanded(path)
    assert "\n" not in str(caught.value)
    result = coun_command("history", path)
    assert result.code == 2
    assert result.err.count("\n") == 1


def test_a_thousand_workers_are_refused(coun_command):
    with pytest.raises(CounError, match="workers is 1000; expected 0 to"):
        Options(workers=1000)
    result = coun_command("unlearn", "x", "--workers", "1000", "--out", "y")
    assert result.code == 2
    assert "--workers" in result.err


def test_brackets_in_names_are_printed_as_they_are(capsys):
    app.console.print("[red]x[/red] :smile: [/")
    assert capsys.readouterr().out == "[red]x[/red] :smile: [/\n"


def test_a_seed_beyond_every_generator_is_refused():
    data = coun.load("digits", limit=50)
    with pytest.raises(CounError, match="expected a number below"):
        coun.Split.random(data, 0.1, seed=99999999999999999999)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_name_that_the_terminal_cannot_show_is_printed_with_escapes(tmp_path, encoding):
    lines = [f"{n % 3},{n % 5},{('Zoë', '漢')[n % 2]}\n" for n in range(20)]
    (tmp_path / "t.csv").write_text("".join(["a,b,label\n", *lines]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "coun", "rows", f"table:{tmp_path / 't.csv'}"],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u6f22" in done.stdout
    assert (b"\\xeb" if encoding == "ascii" else b"Zo\xeb") in done.stdout


@pytest.mark.parametrize("words", [["--help"], ["methods"], ["methods", "--json"]])
def test_a_reader_that_stops_early_is_no_error(words, unmeasured):
    """As in `coun rows digits | head`: the exit code is that of SIGPIPE, and nothing is said."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "coun", *words]
    try:
        done = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, text=True, env=unmeasured, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("words", ["--version", "train --data digits --limit 60 --model mlp"])
def test_a_current_folder_that_was_deleted_is_one_line(tmp_path, words):
    """Libraries of torch look for their files and end the process where there is none."""
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"rmdir '{gone}' && exec '{sys.executable}' -m coun {words}"
    done = subprocess.run(["sh", "-c", command], cwd=gone, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("coun: the current folder was deleted; go to one that exists")
    assert done.stderr.count("\n") == 1
