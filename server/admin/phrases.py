"""What the admin API answers about phrases in use: where they were met."""

from datetime import UTC, datetime
from typing import Self

from pydantic import Field

from guards.phrases.phrase import Phrase, PhraseClass
from guards.scope import Scope
from server.admin import samples
from server.admin.replies import Reply
from server.registry.hits import Hits


class Use(Reply):
    """How often answers held something that is withheld."""

    hits_flagged: int = Field(description="Withheld from answers to prompts that were recognised")
    hits_unflagged: int = Field(
        description="Withheld from answers to prompts that nothing flagged: innocent, or missed by detection"
    )
    seen: int = Field(description="Met and left alone: a name that the client's own request says")
    last_at: datetime | None

    @classmethod
    def of(cls, hits: Hits, **more: object) -> Self:
        """From the counts, and what else belongs to it."""
        return cls(
            **more,
            hits_flagged=hits.flagged,
            hits_unflagged=hits.unflagged,
            seen=hits.seen,
            last_at=None if hits.last_at is None else datetime.fromtimestamp(hits.last_at, UTC),
        )


class PhraseUse(Use):
    """One phrase, and how often answers held it."""

    text: str
    class_: PhraseClass = Field(serialization_alias="class")
    innocent_rate: float = Field(description="Estimated share of ordinary answers that contain it")

    @classmethod
    def use(cls, phrase: Phrase, hits: Hits) -> Self:
        """From a scope's phrase and its counts."""
        return cls.of(hits, text=phrase.text, class_=phrase.kind, innocent_rate=phrase.innocent_rate)


class PhrasesReply(Reply):
    """The phrases of the version in force, those met most often first."""

    model_config = samples.shown(samples.PHRASES)

    id: str
    version: int | None = Field(description="The version in force; without one there are no phrases in use")
    phrases: list[PhraseUse]
    quotations: Use | None = Field(description="Any run of words of a text that is kept as hashes, if it is")

    @classmethod
    def of(cls, request_id: str, scope: Scope | None, runs: Hits, hits: list[Hits]) -> Self:
        """From what is in force of a request, and the counts of its runs of words and of its phrases in their order."""
        used = zip(scope.phrases if scope else (), hits, strict=True)
        phrases = [PhraseUse.use(phrase, counts) for phrase, counts in used]
        phrases.sort(key=lambda use: -(use.hits_flagged + use.hits_unflagged + use.seen))
        return cls(
            id=request_id,
            version=scope.version if scope else None,
            phrases=phrases,
            quotations=Use.of(runs) if scope and scope.shingles is not None else None,
        )
