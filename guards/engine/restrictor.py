"""Restriction of a batch: which rows of logits belong to restricted requests, and banning their tokens.

What is the same in both of vLLM's model runners; they differ in how they tell the tokens of a request.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch

from guards.engine.automaton import Automaton
from guards.engine.restriction import restriction_from_xargs
from guards.engine.sealing import environment_key
from guards.engine.vocabulary import read_vocabulary
from guards.engine.wire import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from guards.engine.automaton import State
    from guards.engine.restriction import RestrictionArgs
    from guards.engine.vocabulary import Ids, Vocabulary

_log = logging.getLogger("vllm.unremember")

MAX_PHRASES: Final = 500_000
"""Most phrases in the automata that are kept for later requests."""

_NEVER: Final = float("-inf")
_NONE: Final = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Phrases:
    """One set of phrases with one penalty, shared by the rows that carry it."""

    automaton: Automaton
    penalty: float
    bias: torch.Tensor
    """What is added to every logit whatever the state, float32 [size of the logits]."""


class Ask(NamedTuple):
    """What is banned in one row of a batch, besides what always is."""

    row: int
    banned: Ids
    softened: Ids


class Row:
    """One restricted request, while it runs."""

    __slots__ = ("_start", "constrained", "ending", "known", "phrases", "read", "state")

    def __init__(self, params: Any, phrases: Phrases | None, start: State | None) -> None:
        self.phrases = phrases
        """None where the arguments cannot be acted on: then nothing may be written."""
        self._start = self.state = start
        self.read = 0
        """How many tokens of the answer the state stands behind."""
        self.known = phrases is not None
        """Whether these are all the tokens that there are."""
        stops = [params.eos_token_id, *(params.stop_token_ids or ()), *sorted(params.all_stop_token_ids), 0]
        self.ending: int = next(token for token in stops if token is not None)
        """What ends the answer."""
        self.constrained = bool(
            params.structured_outputs is not None
            or params.allowed_token_ids
            or params.bad_words_token_ids
            or params.min_tokens
        )
        """Whether something else bans tokens too, so that together nothing may be left."""

    def rewind(self, length: int) -> None:
        """Go back to the prompt if the answer is shorter than what was read: tokens were taken back."""
        if length < self.read:
            self.state, self.read = self._start, 0

    def follow(self, tokens: Iterable[int]) -> None:
        """Read the tokens that the answer has grown by. A negative one stands for one that is not known yet."""
        if self.phrases is None or self.state is None:
            return
        self.known = True
        for token in tokens:
            if token < 0:
                self.known = False
                return
            self.state = self.phrases.automaton.advance(self.state, token)
            self.read += 1


class Restrictor:
    """Makes rows of requests, and bans their tokens in a batch of logits.

    Args:
        vocabulary: of the served model; None where it cannot be read. Restricted answers then end at once.
        key: opens the arguments (``guards.engine.sealing``).
        width: logits of a row.
    """

    def __init__(self, vocabulary: Vocabulary | None, key: bytes | None, *, width: int, device: torch.device) -> None:
        self._vocabulary = vocabulary
        self._key = key
        self._width = width
        self._device = device
        self._ban = self._ban_one_by_one if device.type == "cpu" else self._ban_together
        self._kept: OrderedDict[tuple[str, float], Phrases] = OrderedDict()

    def row(self, params: Any, prompt: Sequence[int]) -> Row | None:
        """The row of a request that enters the batch; None if it asks for no restriction.

        Never raises: arguments that cannot be acted on were refused where the request came in. If they come
        here all the same, nothing may be written.
        """
        if not params.extra_args:
            return None
        try:
            args = restriction_from_xargs(params.extra_args, self._key)
        except ValueError as error:
            _log.error("Unremember: an answer is ended because its restriction cannot be read: %s", error)
            return Row(params, None, None)
        if args is None:
            return None
        if self._vocabulary is None:
            return Row(params, None, None)
        phrases = self._phrases(params.extra_args[f"{PREFIX}phrases"], args, self._vocabulary)
        return Row(params, phrases, phrases.automaton.start(prompt))

    @torch.inference_mode()
    def restrict(self, logits: torch.Tensor, rows: Mapping[int, Row]) -> None:
        """Ban in ``logits``, float32 [rows, width], what each row must not write next. Keys are indices of rows."""
        asked: defaultdict[Phrases, list[Ask]] = defaultdict(list)
        for index, row in rows.items():
            if row.phrases is None or row.state is None or not row.known:
                logits[index].fill_(_NEVER)
                continue
            automaton = row.phrases.automaton
            begun = automaton.softened[1] if row.phrases.penalty and automaton.at_word_start(row.state) else _NONE
            asked[row.phrases].append(Ask(index, automaton.banned(row.state), begun))
        for phrases, asks in asked.items():
            self._ban(logits, phrases, asks)
        self._keep_an_end(logits, {index: row for index, row in rows.items() if row.constrained or not row.known})

    def _ban_one_by_one(self, logits: torch.Tensor, phrases: Phrases, asks: Sequence[Ask]) -> None:
        """In place, and by numpy: on a CPU copying rows costs more than anything else here, then torch's calls."""
        values, bias = logits.numpy(), phrases.bias.numpy()
        for ask in asks:
            row = values[ask.row]
            row += bias
            row[ask.banned] = _NEVER
            if ask.softened.size:
                row[ask.softened] -= phrases.penalty

    def _ban_together(self, logits: torch.Tensor, phrases: Phrases, asks: Sequence[Ask]) -> None:
        """In a few kernels for any number of rows: on a GPU every launch costs."""
        chosen = [ask.row for ask in asks]
        at = self._tensor(chosen)
        logits.index_copy_(0, at, logits.index_select(0, at).add_(phrases.bias))
        tokens = [ids for ask in asks for ids in (ask.banned, ask.softened)]
        sizes = [len(ids) for ids in tokens]
        rows = np.repeat(np.repeat(chosen, 2), sizes)
        added = np.repeat(np.tile(np.asarray([_NEVER, -phrases.penalty], dtype=np.float32), len(asks)), sizes)
        logits.index_put_(
            (self._tensor(rows), self._tensor(np.concatenate(tokens))), self._tensor(added), accumulate=True
        )

    def _keep_an_end(self, logits: torch.Tensor, rows: Mapping[int, Row]) -> None:
        """Where nothing is left to write, let the answer end, even where a grammar would have it go on."""
        if not rows:
            return
        at = self._tensor(list(rows))
        ends = self._tensor([row.ending for row in rows.values()])
        nothing_left = logits.index_select(0, at).amax(dim=1) == _NEVER
        kept = logits[at, ends]
        logits[at, ends] = torch.where(nothing_left, torch.zeros_like(kept), kept)

    def _phrases(self, sealed: str, args: RestrictionArgs, vocabulary: Vocabulary) -> Phrases:
        name = (sealed, args.penalty)
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        automaton = Automaton(args, vocabulary)
        bias = torch.zeros(self._width, dtype=torch.float32)
        bias[torch.from_numpy(automaton.softened[0])] = -args.penalty
        bias[torch.from_numpy(automaton.always)] = _NEVER
        made = self._kept[name] = Phrases(automaton, args.penalty, bias.to(self._device))
        while len(self._kept) > 1 and sum(one.automaton.size for one in self._kept.values()) > MAX_PHRASES:
            self._kept.popitem(last=False)
        return made

    def _tensor(self, values: Any) -> torch.Tensor:
        return torch.as_tensor(values).to(self._device, non_blocking=True)


def restrictor_of(config: Any, device: torch.device) -> Restrictor:
    """The restrictor of an engine, for one of its workers: with its model's vocabulary and its own key."""
    from vllm.tokenizers import cached_tokenizer_from_config

    vocabulary = None
    try:
        vocabulary = read_vocabulary(cached_tokenizer_from_config(config.model_config))
    except ValueError as error:
        _log.error("Unremember: restricted answers will end at once: %s", error)
    return Restrictor(vocabulary, environment_key(), width=config.model_config.get_vocab_size(), device=device)
