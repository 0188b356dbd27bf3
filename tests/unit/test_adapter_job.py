"""What an adapter's training may be told."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

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
        ({"loss": "memorise"}, "which teaches"),
        ({"loss": {}}, "loss must be one of"),
        ({"retain": {}}, "retain must be one of"),
        ({"seed": 2**80}, "seed must be"),
        ({"length": 10**30}, "length must be"),
        ({"nonsense": 1}, "nonsense"),
        ({"options": {"nonsense": 1}}, "options of npo"),
    ],
)
def test_an_option_that_has_no_sense_is_named(given: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        check(given)


NAMES = ("loss", "retain", "options", "epochs", "seed", "rank", "projections", "learning_rate", "tolerance", "ordinary")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["npo", "rmu", "kl", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["beta", "weights", "x"]), inner),
    max_leaves=4,
)


@drawn(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_whatever_is_given_is_taken_or_refused(options: dict[str, Any]) -> None:
    with contextlib.suppress(ValueError):
        found = check(options)
        assert check(found) == found
