"""What the admin API takes and answers about scores of given answers."""

from typing import Literal, Self

from pydantic import Field

from guards.scope import Action
from server.admin import samples
from server.admin.bodies import Body, Text
from server.admin.replies import Reply
from server.gateway.scoring import Score, Scored


class Message(Body):
    """A turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class ScoreBody(Body):
    """A conversation, and answers to score."""

    model_config = samples.taken(samples.TO_SCORE)

    messages: list[Message] = Field(min_length=1, max_length=100)
    answers: list[Text] = Field(min_length=1, max_length=100)
    model: str | None = Field(None, description="A served model; default: the first")


class AnswerScore(Reply):
    """One answer, token by token."""

    tokens: list[int]
    log_probs: list[float] = Field(description="Natural logarithms, given the question and the tokens before")
    likeliest: list[int] = Field(description="The token that was likeliest in each place")

    @classmethod
    def of(cls, score: Score) -> Self:
        """From the gateway's score."""
        return cls(tokens=list(score.tokens), log_probs=list(score.log_probs), likeliest=list(score.likeliest))


class ScoreReply(Reply):
    """Scores of answers under the plan of their question."""

    model_config = samples.shown(samples.SCORES)

    actions: list[Action] = Field(description="What is done about the question")
    defined: bool = Field(description="False where the plan declines or restricts: only generation shows that")
    answers: list[AnswerScore]

    @classmethod
    def of(cls, scored: Scored) -> Self:
        """From the gateway's answer."""
        return cls(
            actions=[found.action for found in scored.plan.interventions],
            defined=scored.answers is not None,
            answers=[AnswerScore.of(score) for score in scored.answers or ()],
        )
