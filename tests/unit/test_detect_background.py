"""The background set and the training scopes: large enough, fixed, and clean."""

from __future__ import annotations

import hashlib

from guards.detect.thresholds import allowed_above
from guards.detect.words import Words
from offline.detector.background import background_prompts
from offline.detector.training import training_scopes


def test_the_background_guarantees_a_thousandth_with_room_to_spare() -> None:
    prompts = background_prompts()
    assert allowed_above(len(prompts) - 200, alpha=0.001, confidence=0.95) >= 1
    assert len(set(prompts)) == len(prompts)
    assert all(prompt == prompt.strip() and "{" not in prompt[:1] and prompt for prompt in prompts)


def test_it_is_the_same_everywhere() -> None:
    """Whoever changes the data or the draw puts the new digest here: every calibration changes with it."""
    digest = hashlib.sha256("\n".join(background_prompts()).encode()).hexdigest()
    assert digest == "c8dc2b5075c444419c2ce405ff61358a0fca33782d36f790bc528b28d5fb775f"


def test_it_is_of_many_kinds() -> None:
    prompts = background_prompts()
    assert sum(len(prompt) > 400 for prompt in prompts) >= 100
    assert sum(len(prompt) < 25 for prompt in prompts) >= 100
    assert 0.5 < sum(prompt.endswith("?") for prompt in prompts) / len(prompts) < 0.9
    for mark in ("Wer ", "¿", "Qui ", "Python", "e-mail", "Translate", "recipe", "symptoms", "capital of"):
        assert any(mark in prompt for prompt in prompts), mark


def test_training_prompts_are_on_the_right_side() -> None:
    scopes = training_scopes()
    assert scopes == training_scopes()
    assert len(scopes) >= 60
    for scope in scopes:
        inside, near = set(scope.inside), set(scope.near)
        assert inside
        assert near
        assert inside.isdisjoint(near)
        assert inside.isdisjoint(example.prompt for example in scope.source.examples)
        subject = Words(scope.source.subject).key
        assert not [prompt for prompt in near if subject in Words(prompt).key]
