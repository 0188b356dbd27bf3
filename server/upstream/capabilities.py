"""Which interventions can be enforced through the upstreams."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What can be enforced now. Declining needs nothing of an upstream and is always there."""

    corrupt: bool
    restrict: bool
    known: bool = True
    """False while no upstream is healthy, or one could not be tried lately or since it was last seen to start."""
    reasons: dict[str, str] = field(default_factory=dict)
    """For each action that cannot be enforced, why not, in a sentence fit for an admin."""
    adapt: bool = False
