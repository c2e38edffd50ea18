"""The days on which a request arrives and is due."""

import pytest

from coun.errors import CounError
from coun.registry.intake import dates


def test_a_request_at_the_end_of_the_calendar_is_refused():
    with pytest.raises(CounError, match="9999-12-31"):
        dates("9999-12-31", None)
