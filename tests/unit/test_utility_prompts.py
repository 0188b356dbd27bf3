"""The ordinary prompts that over-blocking is measured with."""

from __future__ import annotations

from benchmarks.utility import utility_prompts
from offline.detector.background import background_prompts


def test_they_are_five_hundred_that_no_threshold_was_calibrated_on() -> None:
    prompts = utility_prompts()
    assert len(set(prompts)) == len(prompts) == 500
    assert not set(prompts) & set(background_prompts())
