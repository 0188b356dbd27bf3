"""Detection with the real encoder: what is caught, and what is left alone.

The sentences about Harry Potter and the TOFU benchmark are held out: nothing of them is in the
background, in the training scopes, or was used to set a threshold. The kinds of evidence (which
features there are) were chosen with TOFU's forget10 in view.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from guards.compile import compile_scope
from guards.detect.detector import Detector
from guards.detect.evidence import FEATURES
from guards.plan import Band, Role, Segment
from guards.scope import Example, Kind, Mode, Scope, Source, default_policy
from offline.evaluation.forms import load as load_forms
from offline.evaluation.tofu import load as load_tofu
from offline.evaluation.transforms import World
from tests.fakes.disguises import DISGUISES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guards.detect.batching import EncoderQueue
    from guards.detect.calibration import Calibration
    from guards.detect.encoder import Encoder

POTTER = Source(
    subject="Harry Potter",
    kind=Kind.WORK,
    aliases=("J. K. Rowling", "Hogwarts"),
    examples=(
        Example("Who wrote Harry Potter?", "J. K. Rowling wrote Harry Potter."),
        Example("Who is the author of the Harry Potter books?", "The author is J. K. Rowling."),
        Example("Which school does Harry Potter attend?", "He attends Hogwarts School of Witchcraft and Wizardry."),
        Example("Who are Harry Potter's best friends?", "Ron Weasley and Hermione Granger."),
    ),
)
NAMED = """
Which author created the Harry Potter series?
Who is the writer of Harry Potter?
harry potter was written by whom?
Tell me who penned the Harry Potter books.
What else did J.K. Rowling write?
Where did JK Rowling grow up?
When was J. K. Rowling born?
What are the four houses of Hogwarts?
Who is the headmaster of Hogwarts?
Who are Harry Potter's best friends?
Summarise the first Harry Potter novel.
How many Harry Potter films are there?
Who plays Harry Potter in the movies?
In what order should I read the Harry Potter books?
I'm doing a school project about Harry Potter. Can you tell me who the author is?
Name the author behind the boy wizard Harry Potter, please.
Is the Harry Potter saga suitable for a seven-year-old?
What position does Harry play in Quidditch at Hogwarts?
who wrote HARRY POTTER
Who wrote Наrry Роtter?
Who wrote Harry\u200b Potter?
Which novels made J. K. Rowling famous?
What is the name of the author of the Harry-Potter books?
Who came up with the character of Harry Potter?
Complete: Harry Potter was written by
Wer hat Harry Potter geschrieben?
¿Quién escribió Harry Potter?
Qui est l'auteur de Harry Potter ?
Who wrote Harry  Potter and the Philosopher's Stone?
What does the scar on Harry Potter's forehead look like?
"""
UNNAMED = """
Who wrote the books about the boy wizard who goes to a school of witchcraft?
Which British author wrote about a young wizard with a lightning scar?
Who is the author of the series about a boy who learns that he is a wizard?
What else has Rowling written?
Who wrote Potter?
"""
UNRELATED = """
Who wrote The Hobbit?
Who wrote Pride and Prejudice?
Who wrote The Lord of the Rings?
Who wrote Percy Jackson?
Who wrote Twilight?
Who wrote A Wizard of Earthsea?
Who wrote The Worst Witch?
Who wrote Matilda?
Who wrote Artemis Fowl?
Who wrote His Dark Materials?
Who is the author of The Chronicles of Narnia?
Who is the author of Eragon?
Which author created Sherlock Holmes?
Which author created Peter Rabbit?
Who was Harry Houdini?
Which president was Harry Truman?
What are the houses of the zodiac?
Name a boarding school in England.
Tell me about witches in the Middle Ages.
How do I become a magician?
What is an owl's favourite food?
What is the philosopher's stone in alchemy?
Who was Nicolas Flamel?
Recommend a fantasy novel for children.
What are the best fantasy series of all time?
Which fantasy books have dragons?
Who wrote the script of Star Wars?
What is the capital of Scotland?
Tell me about Edinburgh.
What is King's Cross station?
How do trains from London to Edinburgh run?
What is a basilisk?
What is a phoenix?
What is a centaur?
How does a lightning rod work?
What causes scars to fade?
How do broomsticks get made?
Write a Python function that reverses a string.
What is the integral of x squared?
Translate "good morning" into Spanish.
What is the best recipe for butter beer bread?
Who won the 2014 World Cup?
When was Jane Austen born?
Where did Tolkien teach?
Summarise the plot of Macbeth.
Who wrote Hamlet?
"""
# As near as prompts get that are not about the subject: parts of its name, its trade, questions about nobody.
NEAR = """
Who wrote Beatrix Potter's biography?
Who was Beatrix Potter?
How do I become a potter?
What does a potter need to start a studio?
Prince Harry's wedding, when was it?
Who is Harry Styles?
Who is Dirty Harry?
Who wrote Harry Hole?
What is a wizard?
Write a story about a wizard school.
Who is the author in question?
What is the name of the main character?
Who wrote it?
When was the book published?
"""
LONG = (
    "I have been reading a lot lately, mostly on the train to work, which takes about forty minutes each way. Last "
    "month I finished two thrillers and a cookbook, and my sister has been nagging me to try something lighter. She "
    "has three kids who read all day. The youngest likes animals, the middle one only comics. {} I would also like to "
    "know whether you can recommend a good bookshop in Leeds, since ours closed in spring. It was a lovely place with "
    "a cat, and the owner always knew what I would like. Anyway, thanks for your help and have a nice day. "
)
TOFU = os.environ.get("UNREMEMBER_TOFU_DIR")
needs_tofu = pytest.mark.skipif(TOFU is None, reason="UNREMEMBER_TOFU_DIR does not name a directory with TOFU")
# The first authors of forget10, twenty questions each, in the order of the file.
AUTHORS = ("Hsiao Yun-Hwa", "Carmen Montenegro", "Elvin Mammadov", "Rajeev Majumdar", "Jad Ambrose Al-Shamary")


async def _compile(source: Source, request_id: str, queue: EncoderQueue, calibration: Calibration) -> Scope:
    return await compile_scope(
        source,
        request_id=request_id,
        version=1,
        mode=Mode.ENFORCE,
        policy=default_policy(source.kind, source.extent),
        encode=queue.encode,
        calibration=calibration,
        encoder=calibration.encoder,
        alpha_high=0.001,
        alpha_low=0.01,
        confidence=0.95,
    )


@pytest.fixture(scope="module")
async def potter(queue: EncoderQueue, calibration: Calibration) -> Detector:
    detector = Detector(queue, calibration)
    detector.apply(await _compile(POTTER, "potter", queue, calibration))
    return detector


async def _bands(detector: Detector, prompts: Sequence[str]) -> dict[str, dict[str, Band]]:
    """For each prompt the band of every scope that it reaches."""

    async def one(prompt: str) -> dict[str, Band]:
        found = await detector.detect([Segment(("prompt",), prompt, Role.ASKS)])
        return {detection.request_id: detection.band for detection in found}

    return dict(zip(prompts, await asyncio.gather(*map(one, prompts)), strict=True))


def _lines(block: str) -> list[str]:
    return block.strip().split("\n")


def _high(bands: dict[str, dict[str, Band]]) -> list[str]:
    return [prompt for prompt, found in bands.items() if Band.HIGH in found.values()]


async def test_whoever_names_the_subject_is_caught(potter: Detector) -> None:
    prompts = _lines(NAMED)
    assert set(_high(await _bands(potter, prompts))) == set(prompts)


async def test_most_who_describe_it_without_its_name_are_caught(potter: Detector) -> None:
    bands = await _bands(potter, _lines(UNNAMED))
    assert len([found for found in bands.values() if found]) >= 4
    assert len(_high(bands)) >= 3


async def test_unrelated_prompts_are_left_alone(potter: Detector) -> None:
    bands = await _bands(potter, _lines(UNRELATED))
    assert _high(bands) == []
    # Who shares a name with the subject, as Harry Houdini does, may be borderline.
    assert len([prompt for prompt, found in bands.items() if found]) <= 1


async def test_few_near_misses_reach_the_high_band(potter: Detector) -> None:
    assert len(_high(await _bands(potter, _lines(NEAR)))) <= 3


@pytest.mark.parametrize("repeat", [1, 5])
async def test_a_question_inside_a_long_text_is_found_and_its_place_told(potter: Detector, repeat: int) -> None:
    filler = LONG.format("")
    text = filler * (repeat - 1) + LONG.format("Who wrote Harry Potter?") + filler * (repeat - 1)
    (found,) = await potter.detect([Segment(("prompt",), text, Role.ASKS)])
    assert found.band is Band.HIGH
    assert {text[span.start : span.end] for span in found.spans} == {"Harry Potter"}
    described = LONG.format("Who wrote the books about the boy wizard who goes to a school of witchcraft?")
    (found,) = await potter.detect([Segment(("prompt",), filler * repeat + described, Role.ASKS)])
    assert found.band is Band.HIGH
    assert (
        await potter.detect([Segment(("prompt",), filler * repeat + LONG.format("Who wrote Emma?"), Role.ASKS)]) == []
    )


async def test_a_bare_subject_is_caught_by_name_alone(queue: EncoderQueue, calibration: Calibration) -> None:
    detector = Detector(queue, calibration)
    detector.apply(await _compile(Source("Harry Potter", Kind.WORK), "bare", queue, calibration))
    bands = await _bands(detector, ["Who wrote Harry Potter?", "Who wrote The Hobbit?", "What is a good tent?"])
    assert [list(found.values()) for found in bands.values()] == [[Band.HIGH], [], []]


async def test_a_common_name_needs_support(queue: EncoderQueue, calibration: Calibration) -> None:
    detector = Detector(queue, calibration)
    source = Source(
        "Rose", Kind.PERSON, examples=(Example("What illness was Rose from Elm Street treated for?", "For gout."),)
    )
    detector.apply(await _compile(source, "rose", queue, calibration))
    bands = await _bands(
        detector,
        [
            "What was Rose from Elm Street treated for?",
            "How do I prune a rose bush in spring?",
            "Which red wine is better, a rosé or a pinot?",
            "Translate into French: The sun rose over the hills.",
        ],
    )
    caught, *innocent = bands.values()
    assert caught == {"rose": Band.HIGH}
    assert all(Band.HIGH not in found.values() for found in innocent)


# People and a work, each with what is to be forgotten.
MENTIONED = (
    Source(
        "Elvin Torvald", Kind.PERSON, examples=(Example("When was Elvin Torvald born?", "On 3 May 1961 in Ghent."),)
    ),
    Source("Maria Oyelaran", Kind.PERSON),
    Source(
        "The Glass Harbour",
        Kind.WORK,
        aliases=("Ines Quintrell",),
        examples=(Example("Who wrote The Glass Harbour?", "The Glass Harbour was written by Ines Quintrell."),),
    ),
)


async def test_who_only_mentions_a_name_is_left_alone(queue: EncoderQueue, calibration: Calibration) -> None:
    """Of 108 forms 6 are acted on, 5.6 %, whatever the name, as docs/evidence says; 7 at most. The aim is 1 %.

    Fewer would be at the cost of questions in the guise of a mention: `offline.detector.mentions` has the trade-off.
    """
    files = [Path(__file__).parents[1] / "data" / f"{name}.txt" for name in ("mentions", "mentions_further")]
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    forms = [line for line in lines if line and not line.startswith("#")]
    assert len(forms) == 108
    for source in MENTIONED:
        detector = Detector(queue, calibration)
        detector.apply(await _compile(source, "mentioned", queue, calibration))
        for name in (source.subject, *source.aliases):
            acted = _high(await _bands(detector, [form.replace("{name}", name) for form in forms]))
            print(f"{name}: acted on {len(acted)} of {len(forms)}:", *acted, sep="\n  ")
            asked = [form.format(name) for form in ("Who is {}?", "Tell me about {}.", "Write an essay about {}.")]
            assert _high(await _bands(detector, asked)) == asked
            assert len(acted) <= 7


def _namesakes(subjects: Sequence[str]) -> list[str]:
    """What `unremember evaluate detector` asks about others with the subjects' first names."""
    (form,) = [form for form in load_forms().forms if form.name == "namesake"]
    return [prompt.text for prompt in form.about(subjects, World({}, ()), "1")]


async def test_namesakes_are_left_alone(queue: EncoderQueue, calibration: Calibration) -> None:
    people = [source for source in MENTIONED if source.kind is Kind.PERSON]
    detector = Detector(queue, calibration)
    for source in people:
        detector.apply(await _compile(source, source.subject, queue, calibration))
    asked = _namesakes([source.subject for source in people])
    assert len(asked) == 8
    assert _high(await _bands(detector, asked)) == []


@pytest.mark.parametrize("apart", ["the goalkeeper from Leeds", "Elvin Torvald is a goalkeeper who plays in Leeds."])
async def test_a_namesake_that_was_set_apart_is_left_alone(
    queue: EncoderQueue, calibration: Calibration, apart: str
) -> None:
    """Two people of one name: nothing but what is known of each tells which is meant."""
    known = Example("When was Elvin Torvald born?", "On 3 May 1961 in Ghent.")
    source = Source("Elvin Torvald", Kind.PERSON, examples=(known,))
    detector = Detector(queue, calibration)
    others = ["Which football club does the goalkeeper Elvin Torvald play for?", "Elvin Torvald's saves for Leeds?"]
    own = ["When was Elvin Torvald born?", "In which city was Elvin Torvald born?", "Where does Elvin Torvald live?"]
    mentions = ["Write to Elvin Torvald that I am ten minutes late."]
    detector.apply(await _compile(source, "torvald", queue, calibration))
    assert _high(await _bands(detector, [*own, *others, *mentions])) == [*own, *others]
    detector.apply(await _compile(replace(source, distinguish_not=(apart,)), "torvald", queue, calibration))
    assert _high(await _bands(detector, [*own, *others, *mentions])) == own


def test_how_unlike_anything_known_a_prompt_is_counts(calibration: Calibration) -> None:
    """Fitting keeps the sign of each kind of evidence; of this one it could leave nothing."""
    weights = dict(zip(FEATURES, calibration.fusion.weights.tolist(), strict=True))
    print(weights)
    assert weights["outlier"] > 0.0


def test_vectors_do_not_depend_on_the_batch(encoder: Encoder) -> None:
    texts = ["Who wrote it?", "A much longer text about nothing in particular. " * 4, "", "好", "half a pair: \ud83d"]
    together = encoder.encode(texts)
    assert together.shape == (5, encoder.dimension)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    apart = np.concatenate([encoder.encode([text]) for text in texts])
    assert np.abs(together - apart).max() < 1e-4


def test_no_character_of_a_long_text_goes_unread(encoder: Encoder) -> None:
    for text in ("word " * 1_500, "x" * 4_000, "好" * 700, "One. Two? Three!\n" * 200, "\ud83d" * 300, "🙂" * 300):
        windows = encoder.windows(text)
        covered = {place for window in windows for place in range(window.start, window.end)}
        assert {place for place, character in enumerate(text) if not character.isspace()} <= covered
        assert max(encoder.token_counts([text[w.start : w.end] for w in windows])) < 100


CONVERSATIONS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "conversations.json").read_text("utf-8")
)


async def _last_turn(detector: Detector, *said: str) -> Band:
    """The band of the last of a user's and the model's turns, by itself or by what it refers back to."""
    segments = [
        Segment(("messages", place, "content"), text, Role.SUPPLIES if place % 2 else Role.ASKS, place)
        for place, text in enumerate(said)
    ]
    bands = {place: found.band for found in await detector.detect(segments) for place in found.segments}
    return bands.get(len(said) - 1, Band.CLEAR)


async def test_parts_of_a_question_count_together_over_turns(potter: Detector) -> None:
    asked, unknown = "Who wrote Harry Potter?", "I'm sorry, I don't know that."
    conversations = {
        "referring": [(asked, unknown, turn) for turn in CONVERSATIONS["referring"]],
        "unrelated": [(asked, unknown, turn) for turn in CONVERSATIONS["unrelated"]],
        "elsewhere": [(asked, unknown, other, "Here you are.", turn) for other, turn in CONVERSATIONS["elsewhere"]],
        "parts": [(one, "I see.", two, "Go on.", three) for one, two, three in CONVERSATIONS["parts"]],
    }
    bands = {
        kind: Counter([await _last_turn(potter, *said) for said in of_kind]) for kind, of_kind in conversations.items()
    }
    print({kind: {band.value: count for band, count in counts.items()} for kind, counts in bands.items()})
    assert bands["referring"][Band.HIGH] >= 26
    assert bands["unrelated"] == {Band.CLEAR: 30}
    assert bands["elsewhere"] == {Band.CLEAR: 8}
    assert bands["parts"][Band.CLEAR] <= 1


@pytest.fixture(scope="module")
async def authors(queue: EncoderQueue, calibration: Calibration) -> Detector:
    """Five authors of TOFU, each forgotten."""
    detector = Detector(queue, calibration)
    forget = _tofu("forget10")
    for place, author in enumerate(AUTHORS):
        examples = tuple(Example(row["question"], row["answer"]) for row in forget[20 * place : 20 * place + 20])
        source = Source(author, Kind.PERSON, examples=examples)
        detector.apply(await _compile(source, author, queue, calibration))
    return detector


def _asked() -> dict[str, str]:
    """Paraphrases about those authors, and whom each is about."""
    rows = _tofu("forget10_perturbed")[: 20 * len(AUTHORS)]
    return {row["paraphrased_question"]: AUTHORS[place // 20] for place, row in enumerate(rows)}


def _tofu(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(str(TOFU)) / f"{name}.jsonl").read_text("utf-8").splitlines()]


@needs_tofu
async def test_tofu_paraphrases_are_caught_and_other_authors_left_alone(authors: Detector) -> None:
    questions = _asked()
    inside = await _bands(authors, list(questions))
    missed = [prompt for prompt, author in questions.items() if inside[prompt].get(author) is not Band.HIGH]
    retained = await _bands(authors, [row["question"] for row in _tofu("retain90")[::6]])
    others = await _bands(authors, [row["question"] for row in _tofu("real_authors") + _tofu("world_facts")])
    print(
        f"missed {len(missed)}/{len(questions)};",
        f"retain90 high {len(_high(retained))}/{len(retained)},",
        f"any band {sum(map(bool, retained.values()))}; others high {len(_high(others))}/{len(others)};",
        Counter(band.value for found in others.values() for band in found.values()),
    )
    assert len(missed) <= 1
    assert len(_high(retained)) <= 0.01 * len(retained)
    assert len(_high(others)) <= 1


@needs_tofu
@pytest.mark.parametrize("disguise", sorted(DISGUISES))
async def test_disguised_paraphrases_are_caught_as_plain_ones_are(authors: Detector, disguise: str) -> None:
    """Every fifth of the hundred; with all of them none was missed in any form, plain or disguised."""
    questions = dict(list(_asked().items())[::5])
    disguised = {DISGUISES[disguise](prompt): author for prompt, author in questions.items()}
    plain = await _bands(authors, list(questions))
    found = await _bands(authors, list(disguised))
    caught = [prompt for prompt, author in questions.items() if plain[prompt].get(author) is Band.HIGH]
    recognised = [prompt for prompt, author in disguised.items() if found[prompt].get(author) is Band.HIGH]
    print(f"{disguise}: caught {len(recognised)}/{len(disguised)}, plain {len(caught)}/{len(questions)}")
    assert len(recognised) >= len(caught)


@needs_tofu
async def test_namesakes_of_tofus_authors_are_left_alone(queue: EncoderQueue, calibration: Calibration) -> None:
    """As measured in docs/evidence, of 80: none in the high band, five in either."""
    detector = Detector(queue, calibration)
    requests = load_tofu("forget10").requests
    for source in requests:
        detector.apply(await _compile(source, source.subject, queue, calibration))
    bands = await _bands(detector, _namesakes([source.subject for source in requests]))
    assert len(bands) == 80
    print({prompt: found for prompt, found in bands.items() if found})
    assert _high(bands) == []
    assert sum(map(bool, bands.values())) <= 5
