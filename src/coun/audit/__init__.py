"""Audits: is an unlearned model near Retrain, on what evidence, and how sure is that?

>>> import coun
>>> from coun.audit import audit
>>> data = coun.load("digits", limit=100)
>>> split = coun.Split.random(data, 0.3)
>>> original = coun.train(data, "mlp", epochs=1)
>>> audit(original, split=split, rest=False).verdict.label
'inconclusive'
"""

from coun.audit.auditing import audit
from coun.audit.evidence import Evidence, TestFamily
from coun.audit.family import run_tests
from coun.audit.levels import LevelTest, level_test
from coun.audit.parts import RequestParts
from coun.audit.rank_tests import (
    Groups,
    MeanDifference,
    RankTest,
    Strata,
    mean_difference,
    rank_test,
    residualise,
)
from coun.audit.result import Audit
from coun.audit.scores import Subject, distances, signed
from coun.audit.top_rows import suspicious_rows, top_test
from coun.audit.verdict import WORDS, Verdict, decide, judge

__all__ = [
    "WORDS",
    "Audit",
    "Evidence",
    "Groups",
    "LevelTest",
    "MeanDifference",
    "RankTest",
    "RequestParts",
    "Strata",
    "Subject",
    "TestFamily",
    "Verdict",
    "audit",
    "decide",
    "distances",
    "judge",
    "level_test",
    "mean_difference",
    "rank_test",
    "residualise",
    "run_tests",
    "signed",
    "suspicious_rows",
    "top_test",
]
