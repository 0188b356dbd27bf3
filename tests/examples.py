"""How many examples a property is tested with, where a profile's own number does not fit."""

from __future__ import annotations

from typing import Any

from hypothesis import settings


def examples(count: int, **more: Any) -> settings:
    """Settings for so many examples under the default profile, and in proportion under another."""
    usual = settings.get_profile("default").max_examples
    return settings(max_examples=max(1, count * settings().max_examples // usual), **more)
