from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.act.decline import LANGUAGES, Form, language_of, neutral_text

QUESTIONS = {
    "ar": "من كتب هذه الرواية المشهورة؟",
    "de": "Wer hat dieses berühmte Buch geschrieben?",
    "en": "Who wrote this famous book about a school?",
    "es": "¿Quién escribió este libro tan famoso?",
    "fr": "Qui a écrit ce livre si célèbre ?",
    "hi": "यह प्रसिद्ध किताब किसने लिखी है?",
    "it": "Chi ha scritto questo libro così famoso?",
    "ja": "この有名な本を書いたのは誰ですか？",
    "ko": "이 유명한 책은 누가 썼습니까?",
    "nl": "Wie heeft dit beroemde boek geschreven?",
    "pl": "Kto napisał tę słynną książkę?",
    "pt": "Quem escreveu este livro tão famoso?",
    "ru": "Кто написал эту известную книгу?",
    "tr": "Bu ünlü kitabı kim yazdı?",
    "uk": "Хто написав цю відому книжку?",
    "zh": "这本著名的书是谁写的？",
}


def test_there_is_a_question_for_every_language() -> None:
    assert tuple(sorted(QUESTIONS)) == LANGUAGES


@pytest.mark.parametrize("language", QUESTIONS)
@pytest.mark.parametrize("form", Form)
def test_it_is_in_the_askers_language(language: str, form: Form) -> None:
    assert language_of(QUESTIONS[language]) == language
    assert language_of(neutral_text(QUESTIONS[language], form)) == language


@pytest.mark.parametrize("text", ["", "?", "1234", "🙂", "xq zv"])
def test_a_text_of_no_clear_language_is_answered_in_english(text: str) -> None:
    assert language_of(text) == "en"


@given(st.text(string.ascii_letters + " ", min_size=1), st.sampled_from(Form))
def test_it_is_stable_and_holds_none_of_the_asked_words(text: str, form: Form) -> None:
    marked = f"Quarkbeetle {text} Zanzibarian"
    neutral = neutral_text(marked, form)
    assert neutral == neutral_text(marked, form)
    assert neutral
    assert "quarkbeetle" not in neutral.lower()
    assert "zanzibarian" not in neutral.lower()


@pytest.mark.parametrize("form", Form)
def test_the_wording_varies_with_the_question(form: Form) -> None:
    said = {neutral_text(f"Who wrote famous book number {number}?", form) for number in range(100)}
    assert len(said) >= 2
    if form is Form.QUESTION:
        assert len(said) >= 9


def test_nothing_speaks_of_withholding() -> None:
    forbidden = ("forget", "forgot", "withh", "allowed", "policy", "filter", "block", "remov", "unlearn", "refus")
    for number in range(200):
        for form in Form:
            text = neutral_text(f"Who wrote famous book number {number}?", form).lower()
            assert not any(word in text for word in forbidden)
