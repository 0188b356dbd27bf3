"""`docs/endpoints.md` names every endpoint, and every field that is refused, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.api.chat import ChatCompletions
from server.api.completions import Completions
from server.api.endpoint import Endpoint, Limits
from server.api.messages import Messages
from server.api.passing import LISTED, CountTokens
from server.api.responses import Responses
from tests.fakes.wire import GENERATING

DOCUMENT = (Path(__file__).parents[2] / "docs" / "endpoints.md").read_text()
SERVED = (ChatCompletions, Completions, Responses, Messages, CountTokens, *LISTED.values())


def test_every_endpoint_that_generates_is_in_the_tests_of_all_of_them() -> None:
    generating = set(Endpoint.__subclasses__())
    assert {kind.path for kind in generating} == set(GENERATING)
    assert generating <= set(SERVED)


@pytest.mark.parametrize("kind", SERVED)
def test_every_endpoint_is_in_the_documentation(kind: type[ChatCompletions]) -> None:
    endpoint = kind(Limits())
    assert f"{endpoint.path}`" in DOCUMENT
    rows = [row for row in DOCUMENT.splitlines() if row.startswith(("| `", "| tools"))]
    for field, why in endpoint.rules.refused.items():
        (row,) = [row for row in rows if f"`{field}`" in row]
        assert row.rstrip(" |").endswith(why)
