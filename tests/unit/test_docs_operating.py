"""`docs/operating.md` names every metric, outcome and route of the admin API."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from server.admin.routes import create_admin_router
from server.gateway.progress import _OUTCOMES
from server.settings import PREFIX, Settings
from server.telemetry import METRICS

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "operating.md").read_text()
SERVER = "".join(
    path.read_text()
    for pattern in ("gateway/*.py", "operations.py", "auth.py", "errors.py", "api/models.py", "upstream/pool.py")
    for path in sorted((ROOT / "server").glob(pattern))
)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_in_the_documentation(metric: str) -> None:
    assert f"| `{metric}` |" in DOCUMENT


def test_every_admin_route_is_in_the_documentation() -> None:
    parameters = inspect.signature(create_admin_router).parameters
    nothing: list[Any] = [None] * (len(parameters) - 1)
    router = create_admin_router(*nothing, lambda: None)
    for route in router.routes:
        for method in getattr(route, "methods", ()):
            path = getattr(route, "path", "").removeprefix(router.prefix)
            assert f"`{method} {path}`" in DOCUMENT, (method, path)


def test_every_setting_that_it_names_exists() -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z_]+", DOCUMENT))
    assert named
    assert {name.removeprefix(PREFIX).lower() for name in named} <= set(Settings.model_fields)


def test_every_outcome_is_in_the_documentation() -> None:
    outcomes = {*_OUTCOMES.values(), *re.findall(r'outcome(?:: str)? = "(\w+)"', SERVER), "undecided", "upstream_error"}
    assert len(outcomes) > 10
    [row] = [line for line in DOCUMENT.splitlines() if line.startswith("| `unremember_requests_total`")]
    assert {outcome for outcome in outcomes if f"`{outcome}`" not in row} == set()


def test_every_code_of_an_error_is_in_the_documentation() -> None:
    codes = set(re.findall(r'code="(\w+)"', SERVER))
    assert len(codes) > 10
    assert {code for code in codes if f"`{code}`" not in DOCUMENT} == set()
