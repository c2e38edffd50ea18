"""The code of docs/multi-task.md runs."""

import re

from docs.conftest import DOCS


def test_the_code_runs(capsys):
    text = (DOCS / "multi-task.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    exec(compile(block, "docs/multi-task.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out) <= 100
