"""The table of alignment and steepness: complete, in plain numbers, on the stated rows."""

import json
from dataclasses import replace

import pytest

from coun.analysis import theory, view_spread
from coun.errors import CounError
from coun.models import weights_digest


def test_the_table_is_complete(original, small, split):
    digest = weights_digest(original.model)
    settings = {"eps": (0.1, 0.5), "views": 3, "steps": 3, "limit": 40}
    table = theory({"Original": original, "twin": original}, split, **settings)
    assert table["Original"] == table["twin"]
    assert json.loads(json.dumps(table)) == table
    rows = {role: table["Original"][role]["rows"] for role in ("retain", "forget")}
    assert rows == {"retain": 40, "forget": 30}
    forget = table["Original"]["forget"]
    spread = view_spread(original.classifier, small, split.rows(small, "forget"), views=3)
    assert forget["r_eps"] == {"0.1": spread.share(0.1), "0.5": spread.share(0.5)}
    assert forget["alignment_loss"] == pytest.approx(float(spread.mean_square.mean()))
    assert forget["view_slope"]["max"] == float(spread.slope.max())
    assert 0 < forget["jacobian_norm"]["mean"] <= forget["jacobian_norm"]["max"]
    assert weights_digest(original.model) == digest


def test_models_of_other_data_are_refused(original, split, digits):
    with pytest.raises(CounError, match="'b' was trained on other data"):
        theory({"a": original, "b": replace(original, data=digits)}, split)
    with pytest.raises(CounError, match="no model"):
        theory({}, split)
