"""The page of an audit says the verdict first and explains what it shows."""

import coun
from coun.report import write_audit


def test_a_class_is_shown_with_where_its_rows_go(tmp_path):
    data = coun.load("digits", limit=200)
    split = coun.Split.by_class(data, 8)
    original = coun.train(data, "mlp", epochs=3)
    exact = [coun.train(data, "mlp", split=split, seed=s, epochs=3) for s in (1, 2)]
    found = coun.audit.audit(original, exact)
    page = write_audit(found, tmp_path).read_text()
    assert found.verdict.headline in page
    assert page.index(found.verdict.headline) < page.index("<table")
    assert "all of class 8" in page
    assert "<th>floor</th>" in page
    assert page.count("data:image/png;base64,") == 5
    alone = coun.audit.audit(original, split=split)
    page = write_audit(alone, tmp_path / "alone").read_text()
    assert "There is no Retrain here" in page
    assert page.count("data:image/png;base64,") == 4
