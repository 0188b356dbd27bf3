"""What a forget request changes and what it leaves alone, in words: one table, from the policy."""

from __future__ import annotations

from dataclasses import dataclass

from guards.scope import Action, Mode

_CHANGES: dict[Action | None, str] = {
    Action.CORRUPT: (
        "Prompts that ask about {subject} will be answered as by a model that never knew it: "
        "fluently, and possibly wrongly."
    ),
    Action.DECLINE: "Prompts that ask about {subject} will be declined, in the model's own words.",
    Action.RESTRICT: (
        "Answers to prompts that come near {subject} will go around its phrases; discussion stays as it was."
    ),
    None: "No answer changes: prompts about {subject} are only recorded.",
}
_UNCHANGED: dict[Action | None, str] = {
    Action.CORRUPT: (
        "Every other prompt is answered byte for byte as before, also one that only supplies a text about {subject}; "
        "the model's weights still hold what is withheld."
    ),
    Action.DECLINE: (
        "Every other prompt is answered byte for byte as before, also one that only supplies a text about {subject}; "
        "the model's weights still hold what is withheld."
    ),
    Action.RESTRICT: (
        "Every other answer is passed on byte for byte as the model gives it; "
        "the model's weights still hold what is withheld."
    ),
    None: "Every prompt is answered byte for byte as before.",
}


@dataclass(frozen=True, slots=True)
class Effect:
    """One sentence each."""

    changes: str
    unchanged: str


def effect(subject: str, actions: tuple[Action, ...], mode: Mode) -> Effect:
    """What a request does once it is live, with these actions in its high band."""
    action = actions[0] if actions and mode is Mode.ENFORCE else None
    return Effect(_CHANGES[action].format(subject=subject), _UNCHANGED[action].format(subject=subject))
