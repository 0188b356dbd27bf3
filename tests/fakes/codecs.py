"""Every generating endpoint that there is, found in the code: one that is new joins the tests by itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, Any

from server import api
from server.api.endpoint import Endpoint, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def concrete(kind: Any) -> list[Any]:
    """The classes of a kind under ``server.api`` that can be made, by their routes."""
    for module in pkgutil.iter_modules(api.__path__):
        importlib.import_module(f"{api.__name__}.{module.name}")
    found = {one for one in subclasses(kind) if not inspect.isabstract(one) and hasattr(one, "path")}
    return sorted(found, key=lambda one: one.path)


def subclasses(kind: Any) -> Iterator[Any]:
    """All that are defined by now."""
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


CODECS: dict[str, Callable[[Limits], Endpoint]] = {kind.path: kind for kind in concrete(Endpoint)}
"""By their routes."""
