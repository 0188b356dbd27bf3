"""What is asked in place of a question whose answer is withheld.

The model still answers itself: in its own words, in the asker's language, under the client's own
system prompt, schema and sampling. The replacement holds nothing of the question, and it only says
that the answer is not known: it never mentions a rule, a filter or a request to forget.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from py3langid.langid import MODEL_FILE, LanguageIdentifier


class Form(StrEnum):
    """How a text asks."""

    QUESTION = "question"
    """A message to a chat model."""
    PREFILL = "prefill"
    """The beginning of the chat model's own answer."""
    COMPLETION = "completion"
    """A text to be continued."""


@dataclass(frozen=True, slots=True)
class _Wording:
    """One language's material. Small models follow a request to rephrase far better than one to say something."""

    requests: tuple[str, ...]
    """Each with a place for one of ``sayings``."""
    sayings: tuple[str, ...]
    prefills: tuple[str, ...]
    completions: tuple[str, ...]


_WORDINGS: Final = {
    "en": _Wording(
        requests=(
            "Rephrase in your own words: {}",
            "Rephrase this sentence: {}",
            "Rephrase briefly, in your own words: {}",
        ),
        sayings=(
            "I'm sorry, I don't know the answer to that.",
            "I'm not familiar with that, so I can't say.",
            "I'm not sure, I don't have any information about that.",
            "I'm sorry, I'm not familiar with that topic.",
        ),
        prefills=("I'm not sure about that.", "I'm sorry, I don't know that."),
        completions=(
            "To be honest, I have never heard of it. I don't know what it is.",
            "I was asked a question, but I don't know the answer.",
            '"What is the answer?" she asked.\n"I don\'t know," he said.',
        ),
    ),
    "ar": _Wording(
        requests=("أعد صياغة هذا بكلماتك: {}", "قل هذا بأسلوبك: {}"),
        sayings=("عذراً، لا أعرف الجواب.", "لست متأكداً، فليست لدي معلومات عن ذلك."),
        prefills=("لست متأكداً من ذلك.", "عذراً، لا أعرف ذلك."),
        completions=(
            "في الحقيقة لم أسمع بذلك من قبل، ولا أعرف ما هو.",
            "سُئلت عن ذلك، لكنني لا أعرف الجواب.",
        ),
    ),
    "de": _Wording(
        requests=("Sage mit eigenen Worten: {}", "Formuliere mit eigenen Worten: {}"),
        sayings=(
            "Das weiß ich leider nicht.",
            "Damit kenne ich mich nicht aus, daher kann ich nichts dazu sagen.",
            "Ich bin nicht sicher, dazu habe ich keine Informationen.",
        ),
        prefills=("Da bin ich mir nicht sicher.", "Das weiß ich leider nicht."),
        completions=(
            "Ehrlich gesagt habe ich davon noch nie gehört. Ich weiß nicht, was das ist.",
            "Man hat mich etwas gefragt, aber die Antwort kenne ich nicht.",
        ),
    ),
    "es": _Wording(
        requests=("Dilo con tus propias palabras: {}", "Expresa esto de otra manera: {}"),
        sayings=(
            "Lo siento, no sé la respuesta.",
            "No conozco ese tema, así que no puedo decirlo.",
            "No estoy seguro, no tengo información sobre eso.",
        ),
        prefills=("No estoy seguro de eso.", "Lo siento, eso no lo sé."),
        completions=(
            "La verdad es que nunca he oído hablar de eso. No sé qué es.",
            "Me hicieron una pregunta, pero no sé la respuesta.",
        ),
    ),
    "fr": _Wording(
        requests=("Dis avec tes propres mots : {}", "Reformule ceci : {}"),
        sayings=(
            "Désolé, je ne connais pas la réponse.",
            "Je ne connais pas ce sujet, je ne peux donc rien en dire.",
            "Je ne suis pas sûr, je n'ai pas d'information à ce sujet.",
        ),
        prefills=("Je n'en suis pas sûr.", "Désolé, je ne le sais pas."),
        completions=(
            "À vrai dire, je n'en ai jamais entendu parler. Je ne sais pas ce que c'est.",
            "On m'a posé une question, mais je ne connais pas la réponse.",
        ),
    ),
    "hi": _Wording(
        requests=("इसे अपने शब्दों में कहिए: {}", "इसे दूसरे शब्दों में कहिए: {}"),
        sayings=("माफ़ कीजिए, मुझे इसका उत्तर नहीं पता।", "मुझे ठीक से नहीं पता, मेरे पास इसकी जानकारी नहीं है।"),
        prefills=("मुझे इसके बारे में ठीक से नहीं पता।", "माफ़ कीजिए, मुझे यह नहीं पता।"),
        completions=(
            "सच कहूँ तो मैंने इसके बारे में कभी नहीं सुना। मुझे नहीं पता कि यह क्या है।",
            "मुझसे एक प्रश्न पूछा गया, पर मुझे उसका उत्तर नहीं पता।",
        ),
    ),
    "it": _Wording(
        requests=("Dillo con parole tue: {}", "Riformula questa frase: {}"),
        sayings=(
            "Mi dispiace, non conosco la risposta.",
            "Non conosco l'argomento, quindi non saprei dire.",
            "Non sono sicuro, non ho informazioni in merito.",
        ),
        prefills=("Non ne sono sicuro.", "Mi dispiace, non lo so."),
        completions=(
            "A dire il vero non ne ho mai sentito parlare. Non so che cosa sia.",
            "Mi hanno fatto una domanda, ma non conosco la risposta.",
        ),
    ),
    "ja": _Wording(
        requests=("次のことを自分の言葉で言ってください：{}", "次の文を言い換えてください：{}"),
        sayings=("すみません、その答えは知りません。", "よく分かりません。それについての情報がありません。"),
        prefills=("それについてはよく分かりません。", "すみません、それは知りません。"),
        completions=(
            "正直なところ、それについては聞いたことがありません。何なのか分かりません。",
            "質問をされましたが、私はその答えを知りません。",
        ),
    ),
    "ko": _Wording(
        requests=("다음을 자신의 말로 말해 주세요: {}", "다음 문장을 바꿔 말해 주세요: {}"),
        sayings=("죄송하지만 그 답은 모르겠습니다.", "잘 모르겠습니다. 그것에 대한 정보가 없습니다."),
        prefills=("그것에 대해서는 잘 모르겠습니다.", "죄송하지만 모르겠습니다."),
        completions=(
            "솔직히 그것에 대해서는 들어 본 적이 없습니다. 무엇인지 모르겠습니다.",
            "질문을 받았지만 저는 그 답을 모릅니다.",
        ),
    ),
    "nl": _Wording(
        requests=("Zeg dit in je eigen woorden: {}", "Formuleer dit anders: {}"),
        sayings=(
            "Sorry, dat antwoord weet ik niet.",
            "Daar ben ik niet mee bekend, dus ik kan er niets over zeggen.",
            "Ik weet het niet zeker, ik heb daar geen informatie over.",
        ),
        prefills=("Dat weet ik niet zeker.", "Sorry, dat weet ik niet."),
        completions=(
            "Eerlijk gezegd heb ik daar nog nooit van gehoord. Ik weet niet wat het is.",
            "Er werd mij iets gevraagd, maar ik weet het antwoord niet.",
        ),
    ),
    "pl": _Wording(
        requests=("Powiedz to własnymi słowami: {}", "Wyraź to inaczej: {}"),
        sayings=(
            "Przepraszam, nie znam odpowiedzi.",
            "Nie znam tego tematu, więc nie potrafię powiedzieć.",
            "Nie mam pewności, nie mam na ten temat informacji.",
        ),
        prefills=("Nie mam co do tego pewności.", "Przepraszam, tego nie wiem."),
        completions=(
            "Szczerze mówiąc, nigdy o tym nie słyszałem. Nie wiem, co to jest.",
            "Zadano mi pytanie, ale nie znam odpowiedzi.",
        ),
    ),
    "pt": _Wording(
        requests=("Diga com suas próprias palavras: {}", "Reformule esta frase: {}"),
        sayings=(
            "Desculpe, não sei a resposta.",
            "Não conheço esse assunto, por isso não sei dizer.",
            "Não tenho certeza, não tenho informações sobre isso.",
        ),
        prefills=("Não tenho certeza disso.", "Desculpe, isso eu não sei."),
        completions=(
            "Para ser sincero, nunca ouvi falar disso. Não sei o que é.",
            "Fizeram-me uma pergunta, mas não sei a resposta.",
        ),
    ),
    "ru": _Wording(
        requests=("Скажи это своими словами: {}", "Перефразируй: {}"),
        sayings=(
            "Извините, я не знаю ответа.",
            "Я не знаком с этим, поэтому не могу сказать.",
            "Я не уверен, у меня нет об этом сведений.",
        ),
        prefills=("Я в этом не уверен.", "Извините, этого я не знаю."),
        completions=(
            "Честно говоря, я никогда об этом не слышал. Я не знаю, что это такое.",
            "Мне задали вопрос, но я не знаю ответа.",
        ),
    ),
    "tr": _Wording(
        requests=("Bunu kendi sözlerinle söyle: {}", "Bunu başka sözlerle ifade et: {}"),
        sayings=("Üzgünüm, cevabı bilmiyorum.", "Emin değilim, bu konuda bilgim yok."),
        prefills=("Bundan emin değilim.", "Üzgünüm, bunu bilmiyorum."),
        completions=(
            "Açıkçası bunu hiç duymadım. Ne olduğunu bilmiyorum.",
            "Bana bir soru soruldu ama cevabını bilmiyorum.",
        ),
    ),
    "uk": _Wording(
        requests=("Скажи це своїми словами: {}", "Перефразуй: {}"),
        sayings=("Вибачте, я не знаю відповіді.", "Я не впевнений, у мене немає про це відомостей."),
        prefills=("Я в цьому не впевнений.", "Вибачте, цього я не знаю."),
        completions=(
            "Чесно кажучи, я ніколи про це не чув. Я не знаю, що це таке.",
            "Мені поставили запитання, але я не знаю відповіді.",
        ),
    ),
    "zh": _Wording(
        requests=("请用你自己的话说：{}", "请换一种说法：{}"),
        sayings=("抱歉，我不知道答案。", "我对此不了解，所以说不上来。", "我不确定，我没有这方面的信息。"),
        prefills=("这个我不太确定。", "抱歉，这个我不知道。"),
        completions=(
            "老实说，我从来没有听说过这件事。我不知道这是什么。",
            "有人问了我一个问题，但我不知道答案。",
        ),
    ),
}
LANGUAGES: Final = tuple(sorted(_WORDINGS))
"""Languages that a question can be neutralised in; any other is neutralised in English."""

BRIEF: Final = "?"
"""What is asked where there is no room for more, in any language."""

_DEFAULT: Final = "en"
# Of its classifications of short questions in these languages, those below this were often wrong.
_MIN_CONFIDENCE: Final = 0.5
# The beginning of a text tells its language; a long document need not be read.
_READ: Final = 600


@functools.cache
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=_MIN_CONFIDENCE)
    identifier.set_languages(LANGUAGES)
    return identifier


def prepare() -> None:
    """Load the language model, which takes about a second, before the first request needs it."""
    _identifier()


def language_of(text: str) -> str:
    """The language a text is written in, among ``LANGUAGES``; English where that is not clear."""
    found = _identifier().classify(text[:_READ])[0]
    return found if found in _WORDINGS else _DEFAULT


def neutral_text(text: str, form: Form = Form.QUESTION) -> str:
    """What to ask instead of ``text``.

    In its language, chosen among several wordings by a hash of the text: the same question always
    reads the same to the model, and no one sentence gives an intervention away.
    """
    wording = _WORDINGS[language_of(text)]
    draw = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    match form:
        case Form.PREFILL:
            return wording.prefills[draw % len(wording.prefills)]
        case Form.COMPLETION:
            return wording.completions[draw % len(wording.completions)]
    draw, request = divmod(draw, len(wording.requests))
    return wording.requests[request].format(wording.sayings[draw % len(wording.sayings)])
