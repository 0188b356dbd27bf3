"""`docs/operating.md` names every metric, outcome and route of the admin API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from server.admin.routes import create_admin_router
from server.settings import PREFIX, Settings
from server.telemetry import METRICS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_in_the_documentation(metric: str) -> None:
    assert f"| `{metric}` |" in DOCUMENT


def test_every_admin_route_is_in_the_documentation() -> None:
    nothing: Any = None
    router = create_admin_router(nothing, nothing, nothing, nothing, nothing, lambda: None)
    for route in router.routes:
        for method in getattr(route, "methods", ()):
            path = getattr(route, "path", "").removeprefix(router.prefix)
            assert f"`{method} {path}`" in DOCUMENT, (method, path)


def test_every_setting_that_it_names_exists() -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z_]+", DOCUMENT))
    assert named
    assert {name.removeprefix(PREFIX).lower() for name in named} <= set(Settings.model_fields)
