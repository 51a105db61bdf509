"""The bibliography parses, so that a merge that loses a brace is noticed before the book is built."""

import pytest
from pybtex.database import parse_string
from pybtex.exceptions import PybtexError

from tests.house.places import ROOT

BOOK = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")


def test_every_entry_is_closed():
    entries = parse_string(BOOK, "bibtex").entries
    assert len(entries) == BOOK.count("\n@") + BOOK.startswith("@")


def test_an_open_entry_is_found():
    with pytest.raises(PybtexError):
        parse_string("@book{one,\n  title = {One},\n@book{two,\n  title = {Two}\n}\n", "bibtex")


@pytest.mark.parametrize("field", ["title", "author", "year"])
def test_every_entry_says_who_what_and_when(field):
    entries = parse_string(BOOK, "bibtex").entries
    having = {key for key, e in entries.items() if field in e.fields or field in e.persons}
    assert having == set(entries)
