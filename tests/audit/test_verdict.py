"""Which verdict is given, and which is not."""

from dataclasses import replace

import pytest

import coun
from coun.audit import RequestParts, Subject, audit, judge
from coun.audit.auditing import spent
from coun.audit.verdict import Gap, decide
from coun.audit.wording import headline, sentence
from coun.errors import CounError
from coun.runs import predictions


def test_without_a_retrain_there_is_no_direction(memoriser, retrains, half):
    verdict = audit(memoriser, split=half, rest=False).verdict
    assert verdict.label == "different"
    assert verdict.equivalent is None
    assert "Without a Retrain" in " ".join(verdict.caveats)
    assert audit(retrains[0], rest=False).verdict.found == ()


def test_listed_rows_that_differ_by_nature_do_not_accuse_a_retrain(hard_rows):
    _, runs = hard_rows
    for count in (1, 2, 3):
        verdict = audit(runs[0], runs[1 : 1 + count], rest=False).verdict
        assert verdict.found == (), verdict.sentence
        assert {e.part for e in verdict.evidence} == {"listed", "kept"}
    assert "an accusation with a direction needs 3 Retrains" in " ".join(
        audit(*runs[:2], rest=False).verdict.caveats
    )


def test_listed_rows_need_three_retrains_for_a_direction(hard_rows, memoriser):
    split, runs = hard_rows
    for count, word in ((1, "different"), (3, "under-forgotten"), (4, "under-forgotten")):
        verdict = audit(memoriser, runs[:count], split=split, rest=False).verdict
        assert verdict.label in (word, "inconclusive") if count == 1 else verdict.label == word
    alone = audit(memoriser, split=split, rest=False).verdict
    assert alone.label == "inconclusive"


def test_few_rows_are_inconclusive_whatever_the_model(plain, memoriser):
    split = coun.Split.by_index(plain, plain.train.numbers[:1])
    exact = [coun.train(plain, "mlp", split=split, seed=s, epochs=3) for s in (1, 2)]
    verdict = audit(memoriser, exact, split=split, original=memoriser, rest=False).verdict
    assert verdict.label == "inconclusive"
    assert {"control", "power"} <= set(verdict.reasons)
    assert "the Original passes it too" in verdict.headline + verdict.sentence


def test_a_large_gap_is_never_called_no_difference(retrains, half, plain):
    """Every test passes, but the average gap is many floors: the word must not clear it."""
    parts = RequestParts.of(plain, half)
    subjects = [
        Subject(f"model {k}", predictions(run.classifier, plain, half))
        for k, run in enumerate(retrains)
    ]
    small, large = (
        judge(subjects[:1], subjects[1:], parts, margin=2, alpha=0.01, gap=Gap(points, 0.7, 2.1))[0]
        for points in (1.0, 39.6)
    )
    assert "gap" in large.reasons
    assert large.label == "inconclusive"
    assert "gap" not in small.reasons


def test_a_test_that_comes_near_does_not_clear_a_model(retrains, half, plain):
    """Below five alphas nothing is accused and nothing is cleared."""
    parts = RequestParts.of(plain, half)
    subjects = [
        Subject(f"model {k}", predictions(run.classifier, plain, half))
        for k, run in enumerate(retrains)
    ]
    _, family, _ = judge(subjects[:1], subjects[1:], parts, margin=2, alpha=0.01)
    for p, expected in ((0.04, True), (0.06, False)):
        tests = (replace(family.tests[0], holm=p, found=False), *family.tests[1:])
        tests = tests[:1] + tuple(replace(e, holm=1.0, found=False) for e in tests[1:])
        changed = replace(family, tests=tests)
        verdict = decide(changed, subjects[:1], subjects[1:], margin=2)
        assert ("near" in verdict.reasons) == expected
        if expected:
            assert verdict.label == "inconclusive"
            words = headline(verdict, changed) + sentence(verdict, changed)
            assert "came near to finding a difference" in words


def test_repeated_audits_spend_alpha(retrains):
    """The alphas of any number of audits sum to the alpha of one."""
    assert sum(spent(0.01, k) for k in range(10_000)) == pytest.approx(0.01, rel=1e-3)
    verdict = audit(retrains[0], retrains[1], rest=False, audits_so_far=2).verdict
    assert verdict.alpha == pytest.approx(0.01 / 12)


def test_whole_customers_are_permuted(memoriser, half, plain):
    """With all forgotten rows of one customer, no test of rows can accuse."""
    ids = [plain.train.ids[k] for k in half.rows(plain, "forgotten").tolist()]
    owners = dict.fromkeys(ids, "one customer")
    alone = audit(memoriser, split=half, rest=False, groups=owners, relearn=False).verdict
    assert not any(e.found for e in alone.evidence)
    with_copies = audit(memoriser, split=half, rest=False, groups=owners, relearn=True).verdict
    assert not {e.name for e in with_copies.evidence} & {"relearned", "top_rows"}
    with pytest.raises(CounError, match="the groups name no forgotten row"):
        audit(memoriser, split=half, rest=False, groups={"nobody": "x"})


def test_a_request_of_one_listed_row_reads_well(plain, memoriser, retrains, tmp_path):
    runs = [coun.Run.from_weights(run.model, plain) for run in (memoriser, retrains[0])]
    split = coun.Split.by_index(plain, plain.train.numbers[:1])
    quick = {"rest": False, "relearn": False, "split": split}
    verdict = audit(runs[0], runs[1:], **quick).verdict
    text = " ".join((verdict.headline, verdict.sentence, *verdict.caveats))
    assert "1 row is listed" in text
    assert "even if it remembered the forgotten row" in text
    assert "but 3 may show what it remembers" in text
    assert "interval -100.0 to +100.0" in text
    alone = audit(runs[0], **quick)
    assert alone.verdict.evidence == ()
    coun.report.write_audit(alone, tmp_path / "page")
    content = (tmp_path / "page" / "report.html").read_text()
    assert "No test was made" in content
    assert ">finds 4 times in 5<" not in content
