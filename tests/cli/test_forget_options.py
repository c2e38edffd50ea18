"""The request that options make: their union, repeated before it starts."""

from __future__ import annotations

import math
from dataclasses import replace

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from coun.cli.forget_options import (
    ForgetOptions,
    forget_options,
    requests,
    split_from_options,
    summary,
)
from coun.data import from_arrays
from coun.data.requests import Class, Listed, Memorised, Random, Subclass, WorstCase
from coun.errors import CounError


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    x[7] = x[2]
    test = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    test[1] = x[2]
    ids = [f"person {n:02d}" for n in range(20)]
    return from_arrays(
        x,
        np.arange(20) % 2,
        test,
        np.arange(4) % 2,
        classes=["cat", "dog"],
        ids=ids,
        test_ids=[f"test {n}" for n in range(4)],
    )


def make(*words):
    """What a command with the options receives."""
    received = []

    @click.command()
    @forget_options
    def command(forget):
        received.append(forget)

    result = CliRunner().invoke(command, words, standalone_mode=False)
    if result.exception:
        raise result.exception
    return received[0]


def test_every_option_can_be_repeated(tmp_path):
    file = tmp_path / "ids.txt"
    forget = make("--forget-class", "cat", "--forget-class", "dog", "--forget-ids", str(file))
    assert forget == ForgetOptions(classes=("cat", "dog"), ids=(file,))
    assert not make()


def test_rows_of_one_customer_are_taken_from_a_table(people, tmp_path):
    file = tmp_path / "customers.csv"
    file.write_text("id,customer\nperson 05,Ann\nperson 07,Ben\n")
    ids = ("--forget-ids", str(file))
    assert requests(people, make(*ids, "--where", "customer=Ben")) == [Listed(ids=("person 07",))]
    for words, message in (
        ((*ids, "--where", "Ben"), "--where is 'Ben'; expected COLUMN=VALUE"),
        (("--forget-class", "cat", "--where", "customer=Ben"), "--where needs --forget-ids"),
    ):
        with pytest.raises(CounError, match=message):
            requests(people, make(*words))


def test_the_options_are_typed_requests(people, tmp_path):
    (tmp_path / "rows.csv").write_text("n,since\n3,2020\n")
    (tmp_path / "ids.txt").write_text("person 05\n")
    Image.fromarray(people.train.images[2].permute(1, 2, 0).numpy()).save(tmp_path / "face.png")
    words = [
        *("--forget-fraction", "0.1", "--forget-fraction", "0.2", "--forget-seed", "3"),
        *("--forget-class", "cat", "--forget-index", tmp_path / "rows.csv", "--id-column", "n"),
        *("--forget-match", tmp_path / "face.png", "--forget-subclass", "fine=tabby"),
        *("--forget-memorised", "0.1:low", "--forget-worst", "0.2"),
        *("--forget", "random:fraction=0.1,seed=5", "--forget", "listed:rows=[1,2]"),
    ]
    forget = make(*map(str, words))
    assert requests(people, forget) == [
        Random(fraction=math.fsum((0.1, 0.2)), seed=3),
        Class(name="cat"),
        Listed(rows=(3,)),
        Listed(rows=(2, 7), test_rows=(1,)),
        Subclass(column="fine", name="tabby"),
        Memorised(fraction=0.1, level="low"),
        WorstCase(fraction=0.2),
        Random(fraction=0.1, seed=5),
        Listed(rows=(1, 2)),
    ]
    assert requests(people, make("--forget-ids", str(tmp_path / "ids.txt"))) == [
        Listed(ids=("person 05",))
    ]


def test_the_request_is_repeated_with_its_copies(people, tmp_path, capsys):
    (tmp_path / "ids.txt").write_text("person 02\nperson 05\ntest 3\n")
    first = split_from_options(people, make("--forget-ids", str(tmp_path / "ids.txt")))
    assert first.forget.tolist() == [2, 5]
    assert first.held_out.tolist() == [3]
    assert capsys.readouterr().err.splitlines() == [
        "request: 3 rows listed by id",
        "  2 new rows to forget, 18 to retain",
        "  classes: cat (1), dog (1)",
        "  ids: person 02, person 05",
        "  in the test part: 1 row, on which no model was trained; measurements leave them out",
        "  1 exact copy of forgotten rows among retained rows, 1 among test rows; with "
        "--with-copies the request covers them too",
    ]
    (tmp_path / "more.txt").write_text("person 09\n")
    second = split_from_options(
        people, make("--forget-ids", str(tmp_path / "more.txt"), "--with-copies"), earlier=first
    )
    assert second.forget.tolist() == [2, 5, 7, 9]
    lines = capsys.readouterr().err
    assert "2 new rows to forget, 2 forgotten before, 16 to retain" in lines
    assert "in the test part: 2 rows, named by requests; measurements leave them out" in lines
    assert second.held_out.tolist() == [1, 3]
    calibrated = replace(second, calibrated=second.held_out[:1])
    assert (
        "  in the test part: 1 row, named by requests; 1 row, which a method read; measurements "
        "leave them out"
    ) in summary(people, calibrated)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--forget-seed", "1", "--forget-class", "cat"], "needs --forget-fraction"),
        (["--with-copies"], "needs an option that names rows"),
        (["--forget-fraction", "0.6", "--forget-fraction", "0.5"], "--forget-fraction is 1.1"),
        (["--forget-fraction", "0.1", "--forget-seed", "1", "--forget-seed", "2"], "2 times"),
        (["--forget-subclass", "tabby"], "expected COLUMN=NAME"),
        (["--forget-memorised", "0.1:highest"], "memorised request: level"),
        (["--forget-worst", "0.1"], "looks at trained models"),
        (["--forget-class", "cow"], "unknown class 'cow'"),
        (["--forget", "cow"], "unknown kind of forget request 'cow'"),
        (["--forget", "random:fraction"], "expected KIND:KEY=VALUE"),
        (["--forget", "random:fraction=2"], "random request: fraction"),
        (["--forget", "listed:rows=[1"], "not JSON"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, message, people):
    with pytest.raises(CounError, match=message):
        split_from_options(people, make(*words))


def test_scores_come_from_the_command(people):
    scores = np.arange(20.0)
    split = split_from_options(people, make("--forget-worst", "0.1"), score=lambda _: scores)
    assert split.forget.tolist() == [18, 19]
