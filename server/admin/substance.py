"""Whether a request gives what its extent withholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guards.phrases.shingles import RUN, words_of
from guards.scope import Extent
from server.errors import BadRequest

if TYPE_CHECKING:
    from guards.scope import Source


def require_substance(source: Source) -> None:
    """Refuse a takedown of a text that holds no text: it would go live and withhold nothing.

    Raises:
        BadRequest: it has neither an example as long as a quotation nor phrases of its own.
    """
    if source.extent is not Extent.TEXT or source.phrases:
        return
    if not any(len(words_of(example.response)) >= RUN for example in source.examples):
        raise BadRequest(
            f"extent: text withholds quotations: give the text itself, {RUN} words or more, in examples, "
            "or give phrases.",
            param="extent",
        )
