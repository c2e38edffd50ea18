"""Audits: is an unlearned model near Retrain, on what evidence, and how sure is that?"""

from coun.audit.auditing import Audit, audit
from coun.audit.evidence import Evidence, Family, gather
from coun.audit.exchange import Contrast, Groups, RankTest, Strata, contrast, rank_test, unexplained
from coun.audit.scores import Subject, distances, signed
from coun.audit.verdict import Verdict, decide

__all__ = [
    "Audit",
    "Contrast",
    "Evidence",
    "Family",
    "Groups",
    "RankTest",
    "Strata",
    "Subject",
    "Verdict",
    "audit",
    "contrast",
    "decide",
    "distances",
    "gather",
    "rank_test",
    "signed",
    "unexplained",
]
