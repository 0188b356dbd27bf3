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


def _under(kind: Any) -> Iterator[Any]:
    for one in kind.__subclasses__():
        yield one
        yield from _under(one)


def _found() -> list[Any]:
    for module in pkgutil.iter_modules(api.__path__):
        importlib.import_module(f"{api.__name__}.{module.name}")
    return sorted((kind for kind in _under(Endpoint) if not inspect.isabstract(kind)), key=lambda kind: kind.path)


CODECS: dict[str, Callable[[Limits], Endpoint]] = {kind.path: kind for kind in _found()}
"""By their routes."""
