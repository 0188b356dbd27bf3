"""What an adapter's training may be told."""

from __future__ import annotations

import pytest

from offline.adapter.job import check


def test_options_are_filled_in() -> None:
    found = check({"loss": "simnpo", "epochs": 3})
    assert (found["loss"], found["epochs"], found["rank"], found["ordinary"], found["alternatives"]) == (
        "simnpo",
        3,
        8,
        64,
        3,
    )
    assert check(found) == found


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"loss": "magic"}, "loss must be one of"),
        ({"epochs": 0}, "epochs must be"),
        ({"ordinary": -1}, "ordinary must be"),
        ({"ordinary": True}, "ordinary must be"),
        ({"alternatives": 0}, "alternatives must be"),
        ({"alternatives": "3"}, "alternatives must be"),
        ({"nonsense": 1}, "nonsense"),
        ({"options": {"nonsense": 1}}, "options of npo"),
    ],
)
def test_an_option_that_has_no_sense_is_named(given: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        check(given)
