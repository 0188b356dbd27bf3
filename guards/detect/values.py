"""Dates and years in a text, whatever way they are written."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dateutil import parser

if TYPE_CHECKING:
    import datetime as dt

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
# Candidates only: dateutil says which are dates.
_DATE = re.compile(
    rf"\b(?:{_DAY}(?:\s+day)?(?:\s+of)?[\s-]+{_MONTH},?[\s-]+\d{{4}}"
    rf"|{_MONTH}[\s-]+(?:the\s+)?{_DAY},?[\s-]+\d{{4}}"
    r"|(?<![\d./-])\d{1,4}([./-])\d{1,2}\1\d{1,4}(?![/-]|\.\d))\b",
    re.IGNORECASE,
)
_YEAR = re.compile(r"\b(?:1[0-9]|20)\d\d\b")
_DIGITS = re.compile(r"\d{4}|\d[./-]\d")
_ARTICLES = re.compile(r"\b(?:day|the)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Values:
    """What a text states that another may contradict.

    Each date is the set of days it may mean: 08/09/1956 is one in August or one in September.
    """

    dates: tuple[frozenset[dt.date], ...]
    years: frozenset[int]

    @classmethod
    def of(cls, text: str) -> Values:
        """The dates and years of ``text``, a date's year among them."""
        if not _DIGITS.search(text):
            return cls((), frozenset())
        dates = tuple(readings for found in _DATE.finditer(text) if (readings := _readings(found.group())))
        years = {int(found.group()) for found in _YEAR.finditer(text)}
        years |= {day.year for readings in dates for day in readings}
        return cls(dates, frozenset(years))


@functools.lru_cache(maxsize=4_096)
def _readings(written: str) -> frozenset[dt.date]:
    readings = set()
    for day_first in (False, True):
        try:
            readings.add(parser.parse(_ARTICLES.sub(" ", written), dayfirst=day_first).date())
        except (ValueError, OverflowError):
            continue  # no date in this reading
    return frozenset(readings)
