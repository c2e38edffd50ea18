"""The days on which a request arrives and is due."""

import datetime

import pytest

from coun.errors import CounError
from coun.registry.intake import dates


def test_a_request_at_the_end_of_the_calendar_is_refused():
    with pytest.raises(CounError, match="9999-12-31"):
        dates("9999-12-31", None)


def test_a_request_cannot_arrive_in_the_future():
    today = datetime.date.today()
    later = today + datetime.timedelta(days=3)
    with pytest.raises(CounError, match=f"received on {later}, which is in the future"):
        dates(later.isoformat(), None)
    assert dates(today.isoformat(), later.isoformat()) == (today, later)
