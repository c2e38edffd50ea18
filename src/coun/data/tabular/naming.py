"""What the name of a column says: whether it names rows, or people and things that have rows."""

from __future__ import annotations

import re

COUNTS_ROWS = re.compile(r"|index|level_0|Unnamed: \d+|__index_level_\d+__")  # by pandas
ID_WORDS = {"id", "ids", "uuid", "guid", "uid", "key", "file", "filename", "path"}
NUMBER_WORDS = {"id", "key", "no", "nr", "nbr", "num", "number", "code", "#"}
PEOPLE = (
    "account|applicant|author|borrower|buyer|child|citizen|client|contact|cust|customer|device|"
    "donor|driver|email|employee|employer|groups|guest|household|kunde|kunden|learner|member|owner|"
    "participant|passenger|patient|person|pid|player|pupil|resident|respondent|seller|sender|shopper|"
    "seqn|sid|speaker|ssn|staff|student|subj|subject|subscriber|teacher|tenant|user|visitor|voter|worker|"
    "writer"
)
THINGS = (
    "admission|application|booking|card|case|claim|contract|document|encounter|entry|family|image|"
    "instance|invoice|item|loan|order|phone|policy|record|row|sample|sequence|serial|session|study|"
    "ticket|transaction|trip|visit"
)
PERSON = re.compile(rf"({PEOPLE})s?")
PERSON_OR_THING = re.compile(rf"({PEOPLE}|{THINGS})s?")
IN_ONE_WORD = re.compile(  # as in customerid; of things with an id or a number only
    rf"(.*({PEOPLE})(ids?|key|no|nr|num|number|nummer)|({THINGS})(id|no|nr|num|number))"
)


def words(name: str) -> list[str]:
    """The words of the name of a column, in small letters.

    >>> words("PassengerId"), words("customer-no."), words("SUBJECT_ID"), words("subject#")
    (['passenger', 'id'], ['customer', 'no'], ['subject', 'id'], ['subject', '#'])
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?=#)", " ", name)
    return re.findall(r"#|[^\W_]+", spaced.lower())


def names_rows(name: str) -> bool:
    """Whether a column with such a name names each row, if its values are all different.

    >>> names_rows("id"), names_rows("PassengerId"), names_rows("file_name"), names_rows("valid")
    (True, True, True, False)
    """
    last = words(name)[-2:]
    return last == ["file", "name"] or last[-1:] in [[word] for word in ID_WORDS]


def may_name_rows(name: str) -> bool:
    """Whether a column with such a name may hold ids of rows, of people or of things.

    >>> [may_name_rows(name) for name in ("patient_nbr", "customer", "Kundennummer", "subject#")]
    [True, True, True, True]
    >>> [may_name_rows(name) for name in ("education-num", "order", "valid", "number_of_rooms")]
    [False, False, False, False]
    """
    parts = words(name)
    if names_rows(name) or {"id", "ids"} & set(parts) or COUNTS_ROWS.fullmatch(name.strip()):
        return True
    numbered = parts[-1:] and parts[-1] in NUMBER_WORDS
    stem = parts[:-1] if numbered else parts
    if not stem:  # the name is "number" or the like
        return bool(numbered)
    pattern = PERSON_OR_THING if numbered else PERSON
    return bool(pattern.fullmatch(stem[-1]) or IN_ONE_WORD.fullmatch(parts[-1]))
