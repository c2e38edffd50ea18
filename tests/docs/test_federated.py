"""The commands and the code of docs/federated.md work, in their order, from the page alone."""

import re

from docs.conftest import DOCS

TEXT = (DOCS / "federated.md").read_text(encoding="utf-8")


def test_the_commands_work(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Fewer rows and epochs than on the page; what is checked is that the commands fit together.
    lines = re.findall(r"^    coun (.+)$", TEXT, re.MULTILINE)
    words = [line.replace("--epochs 10", "--epochs 1 --limit 300").split() for line in lines]
    assert [line[0] for line in words] == ["train", "unlearn", "train", "evaluate", "bench"]
    words.pop()  # tests/bench has its config
    assert "Average gap to Retrain" in command(*words)


def test_the_code_runs(capsys):
    (block,) = re.findall(r"```python\n(.+?)```", TEXT, re.DOTALL)
    exec(compile(block, "docs/federated.md", "exec"), {})
    assert int(capsys.readouterr().out) > 0
