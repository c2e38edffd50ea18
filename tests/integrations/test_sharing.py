"""Model cards and MLflow's registry: what they say is what the run and the audit say."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

import coun
from coun.audit.auditing import audit
from coun.errors import CounError
from coun.integrations import mlflow_writer, model_card, to_mlflow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def forgot(tmp_path_factory) -> tuple[coun.Run, coun.audit.Audit]:
    data = coun.load("digits", limit=60)
    original = coun.train(data, "mlp", epochs=2)
    out = tmp_path_factory.mktemp("forgot") / "run"
    run = coun.unlearn(original, coun.Split.random(data, 0.2), "finetune", epochs=1, out=out)
    return run, audit(run, rest=False, relearn=False)


def test_the_card_says_what_was_forgotten_and_what_was_shown(forgot, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    run, result = forgot
    card = model_card(run, result, name="Digits | 2026", license="apache-2.0")
    card.save(tmp_path / "README.md")
    read = hub.ModelCard.load(tmp_path / "README.md")
    assert read.data.license == "apache-2.0"
    assert read.data.library_name == "coun"
    for text in ("12 of 60 training rows", result.verdict.headline, run.record.weights_sha256):
        assert text in read.text
    assert all(caveat in read.text for caveat in result.verdict.caveats)
    assert "No audit is part of this card" in model_card(run).text
    assert f"| cost | {run.record.cost.flops / 1e6:,.1f} MFLOP (" in card.text


@pytest.mark.parametrize(("label", "served"), [("equivalent", True), ("inconclusive", False)])
def test_the_alias_moves_only_if_the_audit_clears_the_model(
    forgot, label, served, mlflow_store, tmp_path: Path, monkeypatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    run, result = forgot
    monkeypatch.setitem(vars(result.verdict), "label", label)
    where = mlflow_store
    monkeypatch.chdir(tmp_path)
    client = mlflow.MlflowClient(where, where)
    first = to_mlflow(run, "digits", result, tracking_uri=where)
    assert (first.served, first.version) == (served, "1")
    assert bool(client.get_registered_model("digits").aliases) == served
    tags = client.get_model_version("digits", "1").tags
    assert tags["coun.verdict"] == label
    assert tags["coun.weights_sha256"] == run.record.weights_sha256


def test_a_wrong_name_is_refused_before_anything_is_written(forgot, mlflow_store) -> None:
    mlflow = pytest.importorskip("mlflow")
    run, result = forgot
    with pytest.raises(CounError, match="quote, slash or colon"):
        to_mlflow(run, "it's", result, tracking_uri=mlflow_store)
    assert mlflow.MlflowClient(mlflow_store).get_experiment_by_name("it's") is None


@pytest.mark.parametrize(
    ("package", "share"),
    [
        ("mlflow", lambda run, audit: to_mlflow(run, "digits", audit)),
        ("huggingface_hub", model_card),
    ],
)
def test_an_audit_of_another_model_or_a_damaged_one_is_refused(
    forgot, tmp_path: Path, package, share
) -> None:
    pytest.importorskip(package)
    run, result = forgot
    result.save(tmp_path)
    other = coun.train(run.data, "mlp", epochs=1, seed=5)
    for audit_of_run in (result, tmp_path):
        with pytest.raises(CounError, match="the audit is of a model with the weights"):
            share(other, audit_of_run)
    for content in ("{}", "[]", '{"verdict": {"label": 1}, "models": {}}'):
        (tmp_path / "audit.json").write_text(content)
        with pytest.raises(CounError, match="does not fit"):
            share(run, tmp_path)


def test_the_command_writes_a_card_and_refuses_what_does_not_fit(
    forgot, tmp_path: Path, coun_command
) -> None:
    pytest.importorskip("huggingface_hub")
    run, result = forgot
    result.save(tmp_path / "audit")
    words = ("export", run.folder, "README.md", "--to", "card", "--audit", "audit")
    done = coun_command(*words)
    assert done.code == 0, done.err
    assert result.verdict.headline in (tmp_path / "README.md").read_text()
    assert "exists" in coun_command(*words).err
    for wrong, message in (
        (("--to", "mlflow"), "needs --audit"),
        (("--to", "card", "--alias", "x"), "need --to mlflow"),
        (("--audit", "audit"), "--audit needs --to mlflow or"),
    ):
        refused = coun_command("export", run.folder, "new", *wrong)
        assert (refused.code, message in refused.err) == (2, True)


def test_a_database_without_its_packages_is_said(forgot, tmp_path: Path, monkeypatch) -> None:
    """The small package of MLflow does not bring them along."""

    def without_database(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'sqlalchemy'")

    small = SimpleNamespace(MlflowClient=without_database)
    monkeypatch.setitem(sys.modules, "mlflow", small)
    where = f"sqlite:///{tmp_path / 'mlflow.db'}"
    expected = f"cannot open {where}: .*pip install sqlalchemy alembic"
    with pytest.raises(CounError, match=expected):
        to_mlflow(forgot[0], "digits", forgot[1], tracking_uri=where)
    with pytest.raises(CounError, match=expected), mlflow_writer("digits", tracking_uri=where):
        pass


def test_the_extra_has_what_the_page_writes_to() -> None:
    """docs/integrations.md names a store in SQLite."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {
        re.split("[>=]", entry)[0] for entry in extras["optional-dependencies"]["integrations"]
    }
    assert "sqlite:///" in (ROOT / "docs" / "integrations.md").read_text()
    assert {"mlflow-skinny", "sqlalchemy", "alembic"} <= names
