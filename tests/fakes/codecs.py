"""Every generating endpoint that there is, found in the code: one that is new joins the tests by itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING

from server import api
from server.api.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator


def _under(kind: type[Endpoint]) -> Iterator[type[Endpoint]]:
    for one in kind.__subclasses__():
        yield one
        yield from _under(one)


def _found() -> list[type[Endpoint]]:
    for module in pkgutil.iter_modules(api.__path__):
        importlib.import_module(f"{api.__name__}.{module.name}")
    return sorted((kind for kind in _under(Endpoint) if not inspect.isabstract(kind)), key=lambda kind: kind.path)


CODECS = {kind.path: kind for kind in _found()}
"""By their routes."""
