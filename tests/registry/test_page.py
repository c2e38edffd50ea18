"""The page of a registry says what a person has to know, not by colour alone."""

import re

import pytest

from coun.errors import CounError
from coun.registry.page import headline, write_page
from coun.registry.summary import (
    CertificateSummary,
    LedgerState,
    RegistrySummary,
    RequestSummary,
    VersionSummary,
)

DAY = "2026-11-{:02}"


def make_summary(overdue=True, problems=(), **changes):
    versions = tuple(
        VersionSummary(
            version=number,
            parent=number - 1 or None,
            folder=f"versions/{number}",
            weights_sha256=f"{number}" * 64,
            method="retrain" if number == 4 else "coun" if number > 1 else "given",
            reason="unlearning costs 0.18 of a Retrain" if number > 1 else "",
            created=f"2026-11-{number:02}T10:00:00Z",
            requests=(number - 1,) if number > 1 else (),
            forgotten_rows=10 * (number - 1),
            flops=2e12 if number > 1 else None,
            retrain_flops=1e13,
            metrics={"test_accuracy": 91.5 - number / 10},
            drift=None if number == 3 else (0.0 if number in (1, 4) else number / 2),
            exact=number == 4,
            served=number == 6,
        )
        for number in range(1, 7)
    )
    closed = tuple(
        RequestSummary(
            request=number,
            state="fulfilled",
            kind="ids",
            rows=10,
            reason="Art. 17 <b>erase</b>",
            received=DAY.format(number),
            due=DAY.format(number + 20),
            closed=f"2026-11-{number + 1:02}T10:00:00Z",
            version=number + 1,
            result="FULFILLED_BY_RETRAINING" if number == 3 else "FULFILLED",
            certificate=f"certificates/{number}/certificate.intoto.json",
        )
        for number in range(1, 6)
    )
    waiting = (
        RequestSummary(
            request=6,
            state="open",
            kind="match",
            rows=1200,
            received=DAY.format(2),
            due=DAY.format(22),
            overdue=overdue,
            days_left=-3 if overdue else 3,
            result="FAILED",
        ),
        RequestSummary(
            request=7,
            state="open",
            kind="class",
            rows=4,
            received=DAY.format(24),
            due="2026-12-24",
            days_left=29,
        ),
        RequestSummary(
            request=8,
            state="withdrawn",
            kind="ids",
            rows=1,
            received=DAY.format(24),
            due="2026-12-24",
            closed="2026-11-25T09:00:00Z",
        ),
    )
    values = {
        "folder": "requests",
        "registry": "c0ffee" * 6,
        "source": "folder:photos",
        "served": 6,
        "served_since": "2026-11-06T10:00:00Z",
        "versions": versions,
        "requests": closed + waiting,
        "certificates": tuple(
            CertificateSummary(
                request=r.request,
                version=r.version,
                path=r.certificate,
                sha256="ab" * 32,
                created=r.closed,
            )
            for r in closed
        ),
        "open": (6, 7),
        "overdue": (6,) if overdue else (),
        "today": "2026-11-25",
        "ledger": LedgerState(entries=40, head="cd" * 32, problems=problems),
    }
    return RegistrySummary(**{**values, **changes})


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "registry.html"
    return write_page(make_summary(), path).read_text()


def test_what_is_overdue_is_said_in_words(page):
    assert "2 requests are open, 1 OVERDUE (request 6)." in page
    assert "✕ OVERDUE by 3 days; the last attempt FAILED" in page
    assert 'class="headline bad"' in page
    assert page.index("✕ OVERDUE") < page.index("○ open") < page.index("✓ fulfilled")


def test_the_page_stands_alone_and_escapes(page):
    assert "http" not in page
    assert "<script" not in page
    assert "<b>erase" not in page
    assert page.count("<caption>") == page.count("<table")
    pictures = re.findall("<img [^>]*>", page)
    assert len(pictures) == 1
    assert re.search(r'alt="[^"]{10,}"', pictures[0])


def test_drift_without_any_retrain_is_from_version_1(page):
    assert "since the last Retrain" not in page
    assert "than the last Retrain or, where there is none, version 1." in page


def test_nothing_overdue(tmp_path):
    text = write_page(make_summary(overdue=False), tmp_path / "p.html").read_text()
    assert "! open, due in 3 days" in text
    assert "OVERDUE" not in text
    assert 'class="headline"' in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"overdue": False}, "2 requests are open, due from 2026-11-22; none is overdue."),
        ({"overdue": False, "open": ()}, "No request is open."),
        ({"problems": ("entry 3 was edited",)}, "THE RECORD WAS CHANGED: entry 3 was edited."),
    ],
)
def test_the_headline(changes, words):
    text = headline(make_summary(**changes))
    assert words in text
    assert "Version 6 is served since 2026-11-06." in text


def test_a_new_registry(tmp_path):
    """One version, no request, no certificate, nothing known."""
    first = make_summary().versions[0].model_copy(update={"served": True, "metrics": {}})
    summary = make_summary(
        overdue=False, versions=(first,), served=1, requests=(), certificates=(), open=()
    )
    text = write_page(summary, tmp_path / "p.html").read_text()
    assert "No request is open." in text
    assert "<img" not in text


def test_work_that_has_begun(tmp_path):
    text = write_page(make_summary(unfinished=(6, 7)), tmp_path / "p.html").read_text()
    assert "The work on request 6, 7 has begun; if no process does it now, repeat" in text


def test_only_an_earlier_page_of_the_registry_is_replaced(tmp_path):
    page = write_page(make_summary(), tmp_path / "page.html")
    assert "OVERDUE" not in write_page(make_summary(overdue=False), page).read_text()
    of_another = write_page(make_summary(registry="f" * 32), tmp_path / "other.html")
    for content in (b"<html>notes</html>", b"\xff\xfe", of_another.read_bytes()):
        page.write_bytes(content)
        with pytest.raises(CounError, match="not an earlier page of this registry"):
            write_page(make_summary(), page)
        assert page.read_bytes() == content


def test_the_registry_is_named_from_the_folder_of_the_page(tmp_path):
    folder = tmp_path / "requests"
    summary = make_summary(folder=str(folder))
    text = write_page(summary, tmp_path / "pages" / "p.html").read_text()
    assert "in ../requests, " in text
    assert str(tmp_path) not in text
    assert "in the folder of this page, " in write_page(summary, folder / "p.html").read_text()
