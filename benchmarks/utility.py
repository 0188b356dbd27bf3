"""Five hundred ordinary prompts, none of which a threshold was calibrated on: a scope must leave them all alone.

Ten subjects, each asked about in five forms. Some are neighbours of what ``benchmarks/leaks.py`` has forgotten: other
books, other painters, schools, wizards.
"""

from __future__ import annotations

from typing import Final

_GROUPS: Final[tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = (
    (
        (
            "Who is {} by, and is it part of a series?",
            "Sum up the plot of {} in two sentences.",
            "My book club picked {}. Give us three questions to discuss.",
            "Would a twelve-year-old enjoy {}?",
            "Which characters in {} change the most?",
        ),
        (
            "The Name of the Rose",
            "A Wizard of Earthsea",
            "The Lion, the Witch and the Wardrobe",
            "The Golden Compass",
            "Matilda",
            "Things Fall Apart",
            "The Secret Garden",
            "Tom Brown's School Days",
            "The Sword in the Stone",
            "Little Women",
        ),
    ),
    (
        (
            "Tell me something surprising about {}.",
            "Which paintings is {} best known for?",
            "Where did {} live and work?",
            "Who taught {}?",
            "Describe the style of {} to somebody who cannot see.",
        ),
        (
            "Artemisia Gentileschi",
            "Sandro Botticelli",
            "Jan van Eyck",
            "Caspar David Friedrich",
            "Hokusai",
            "Berthe Morisot",
            "Edvard Munch",
            "Raphael",
            "Georgia O'Keeffe",
            "Albrecht Dürer",
        ),
    ),
    (
        (
            "My {} makes a strange noise. What should I check first?",
            "How much electricity does a {} use in a year?",
            "Write a short listing to sell my old {}.",
            "Is it worth repairing a {} that is ten years old?",
            "How do I get a {} up the stairs without hurting my back?",
        ),
        (
            "washing machine",
            "fridge",
            "dishwasher",
            "tumble dryer",
            "freezer",
            "boiler",
            "lawn mower",
            "sewing machine",
            "printer",
            "piano",
        ),
    ),
    (
        (
            "What happens if I leave {} out overnight?",
            "What could I use in place of {}?",
            "How do I tell when {} has gone off?",
            "Plan a dinner for four around {}.",
            "Why does {} taste different abroad?",
        ),
        (
            "butter",
            "cooked rice",
            "smoked salmon",
            "goat's cheese",
            "chicken stock",
            "fresh yeast",
            "coconut milk",
            "tofu",
            "maple syrup",
            "raw dough",
        ),
    ),
    (
        (
            "My child is afraid of {}. What do I say?",
            "Write four lines of verse on {}.",
            "Give me a riddle whose answer is {}.",
            "What do dreams about {} mean, according to folklore?",
            "How would you explain {} to a visitor from another planet?",
        ),
        (
            "thunder",
            "the dark",
            "the first day of school",
            "dogs",
            "moving house",
            "needles",
            "deep water",
            "spiders",
            "losing a tooth",
            "getting lost",
        ),
    ),
    (
        (
            "Write a {} without using any library.",
            "What are the usual mistakes in a {}?",
            "Which tests would you write for a {}?",
            "Explain how a {} works to a beginner.",
            "What is the time complexity of a typical {}?",
        ),
        (
            "binary search",
            "hash table",
            "JSON parser",
            "rate limiter",
            "least-recently-used cache",
            "topological sort",
            "regular expression matcher",
            "priority queue",
            "string tokenizer",
            "breadth-first search",
        ),
    ),
    (
        (
            "I have an interview as a {} tomorrow. What will they ask?",
            "What does a {} do all day?",
            "Write two sentences for the profile of a {}.",
            "How long does it take to become a {}?",
            "Thank a {} for good work, in one line.",
        ),
        (
            "midwife",
            "bus driver",
            "tax adviser",
            "school librarian",
            "bricklayer",
            "data analyst",
            "stage magician",
            "veterinary nurse",
            "translator",
            "baker",
        ),
    ),
    (
        (
            "Summarise: {}",
            "Make this sound more cheerful: {}",
            "Put into the past tense: {}",
            "Answer politely that this does not suit me: {}",
            "Find a title for this note: {}",
        ),
        (
            "The lift is out of order until Thursday, and residents are asked to use the back stairs.",
            "We are closing the pool for a week because the pump has to be replaced.",
            "Your parcel is with the neighbour on the second floor.",
            "The school play starts at six, and the hall opens half an hour earlier.",
            "Harry from accounts wants the receipts by noon, and Leo needs a copy.",
            "The train is twenty minutes late, so I shall miss the start.",
            "Please water the potter's clay twice a day while I am away.",
            "There will be no hot water between nine and eleven.",
            "The museum shows portraits from Florence until the end of May.",
            "The team agrees to meet on Mondays instead of Fridays.",
        ),
    ),
    (
        (
            "How cold does it get in {} in January?",
            "Which dishes should I try in {}?",
            "Can I get by with English in {}?",
            "Suggest a walk of an hour in {}.",
            "What is a good souvenir from {}?",
        ),
        (
            "Ljubljana",
            "Tromsø",
            "Valparaíso",
            "Tbilisi",
            "Hobart",
            "Galway",
            "Porto",
            "Kanazawa",
            "Windhoek",
            "Quebec City",
        ),
    ),
    (
        (
            "What is the difference between {}?",
            "Make a table that compares {}.",
            "Which came first of {}?",
            "When does it matter to tell apart {}?",
            "Invent a way to remember which is which of {}.",
        ),
        (
            "a crocodile and an alligator",
            "mass and weight",
            "a simile and a metaphor",
            "a moth and a butterfly",
            "a novel and a novella",
            "weather and climate models",
            "baking soda and baking powder",
            "a concerto and a symphony",
            "latitude and longitude",
            "fresco and tempera",
        ),
    ),
)


def utility_prompts() -> list[str]:
    """All of them, neighbours in the list about different subjects."""
    size = len(_GROUPS[0][0]) * len(_GROUPS[0][1])
    groups = [[form.format(filling) for form in forms for filling in fillings] for forms, fillings in _GROUPS]
    return [group[place] for place in range(size) for group in groups]
