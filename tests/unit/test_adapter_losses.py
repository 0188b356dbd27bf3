"""Every loss on a handful of numbers, worked out by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from offline.adapter.answers import Answers, ForgetBatch
from offline.adapter.losses import LOSSES
from offline.adapter.losses.altpo import AltPo
from offline.adapter.losses.graddiff import GradDiff
from offline.adapter.losses.idkdpo import IdkDpo
from offline.adapter.losses.ihl import Ihl
from offline.adapter.losses.memorise import Memorise
from offline.adapter.losses.ngdiff import NgDiff, combine, vertex
from offline.adapter.losses.npo import Npo
from offline.adapter.losses.o3 import O3
from offline.adapter.losses.rmu import Rmu
from offline.adapter.losses.simnpo import SimNpo
from offline.adapter.retain import kl, nll

LN = {number: math.log(number) for number in (2, 3, 4, 5, 8, 16)}


def said(*rows: list[list[float]], labels: list[list[int]], reference: list[float] | None = None) -> Answers:
    """Answers of these probabilities: a row for each answer, in it a list over the vocabulary for each token."""
    return Answers(
        torch.tensor(rows).log().requires_grad_(),
        torch.tensor(labels),
        reference=None if reference is None else torch.tensor(reference),
    )


# Two answers over two tokens. The first: p = 1/2 and 1/4. The second is one token long: p = 1/8.
HALF, QUARTER, EIGHTH = [0.5, 0.5], [0.75, 0.25], [0.875, 0.125]
LABELS = [[0, 1], [1, -100]]


def two(reference: list[float] | None = None) -> Answers:
    return said([HALF, QUARTER], [EIGHTH, HALF], labels=LABELS, reference=reference)


def pull(loss: Tensor, answers: Answers) -> Tensor:
    """By how much a small step down the loss raises each logit."""
    (gradient,) = torch.autograd.grad(loss, answers.logits)
    return -gradient


def test_what_a_model_says_of_answers() -> None:
    answers = two(reference=[0.0, -LN[2]])
    assert answers.lengths.tolist() == [2, 1]
    assert answers.token_log_probs().flatten().tolist() == pytest.approx([-LN[2], -LN[4], -LN[8], 0.0])
    assert answers.log_probs().tolist() == pytest.approx([-LN[8], -LN[8]])
    assert answers.log_ratios().tolist() == pytest.approx([-LN[8], -LN[4]])
    assert answers.nll().item() == pytest.approx((LN[2] + LN[4] + LN[8]) / 3)
    with pytest.raises(ValueError, match="reference"):
        two().log_ratios()


def test_memorise_is_the_likelihood_per_token() -> None:
    answers = two()
    loss = Memorise()(ForgetBatch(answers))
    assert loss.item() == pytest.approx((LN[2] + LN[4] + LN[8]) / 3)
    # d(-log p)/d logit = p - 1 for the answer's token, over three tokens.
    assert pull(loss, answers)[0, 0].tolist() == pytest.approx([0.5 / 3, -0.5 / 3])
    assert Memorise().weights == (1.0, 0.0)


def test_graddiff_goes_the_other_way() -> None:
    answers = two()
    loss = GradDiff()(ForgetBatch(answers))
    assert loss.item() == pytest.approx(-(LN[2] + LN[4] + LN[8]) / 3)
    assert pull(loss, answers)[0, 0].tolist() == pytest.approx([-0.5 / 3, 0.5 / 3])


def test_npo() -> None:
    # Log ratios of ln 2 and -ln 4, beta 1: sigmoid(-ln 2) = 1/3, sigmoid(ln 4) = 4/5.
    answers = two(reference=[-LN[16], -LN[2]])
    loss = Npo(beta=1.0)(ForgetBatch(answers))
    assert loss.item() == pytest.approx(-2 * (math.log(1 / 3) + math.log(4 / 5)) / 2)
    # d loss / d log ratio = 2 sigmoid(beta ratio) over two answers: 2/3 and 1/5, times 1 - p.
    assert pull(loss, answers)[0, 0, 0].item() == pytest.approx(-(2 / 3) * 0.5)
    assert pull(Npo(beta=1.0)(ForgetBatch(answers)), answers)[1, 0, 1].item() == pytest.approx(-(1 / 5) * 0.875)


def test_npo_begins_at_two_ln_two_over_beta() -> None:
    answers = two(reference=[-LN[8], -LN[8]])
    assert Npo()(ForgetBatch(answers)).item() == pytest.approx(20 * LN[2])
    assert Npo().needs.reference


def test_npo_pulls_less_at_what_is_already_improbable() -> None:
    near, far = (two(reference=[reference, reference]) for reference in (-LN[8], 10.0))
    pulls = [pull(Npo(beta=1.0)(ForgetBatch(answers)), answers)[0, 0, 0].item() for answers in (near, far)]
    assert pulls[0] < pulls[1] < 0


def test_simnpo() -> None:
    # NLL per token: (ln 8) / 2 and ln 8. With beta 2, delta 0: sigmoid(ln 8) = 8/9, sigmoid(2 ln 8) = 64/65.
    answers = two()
    loss = SimNpo(beta=2.0)(ForgetBatch(answers))
    assert loss.item() == pytest.approx(-(math.log(8 / 9) + math.log(64 / 65)) / 2)
    assert pull(loss, answers)[0, 0, 0].item() < 0
    # delta = ln 8: sigmoid(-ln 8) = 1/9 and sigmoid(0) = 1/2.
    shifted = SimNpo(beta=2.0, delta=LN[8])(ForgetBatch(answers))
    assert shifted.item() == pytest.approx(-(math.log(1 / 9) + math.log(1 / 2)) / 2)
    assert SimNpo() == SimNpo(beta=4.5, delta=0.0, weights=(0.125, 1.0))


@pytest.mark.parametrize("method", [AltPo, IdkDpo])
def test_a_preferred_alternative(method: type[AltPo] | type[IdkDpo]) -> None:
    # One answer: log ratio of the original -ln 4 + ln 2 = -ln 2, of the alternative -ln 2 + ln 4 = ln 2.
    original = said([QUARTER], labels=[[1]], reference=[-LN[2]])
    alternative = said([HALF], labels=[[0]], reference=[-LN[4]])
    loss = method(beta=1.0)(ForgetBatch(original, alternative))
    # sigmoid(2 ln 2) = 4/5.
    assert loss.item() == pytest.approx(-math.log(4 / 5))
    # d loss / d log ratio = -(1 - 4/5) for the alternative, and the opposite for the original.
    assert pull(loss, alternative)[0, 0].tolist() == pytest.approx([0.2 * 0.5, -0.2 * 0.5])
    loss = method(beta=1.0)(ForgetBatch(original, alternative))
    assert pull(loss, original)[0, 0, 1].item() == pytest.approx(-0.2 * 0.75)
    assert method().beta == 0.1


def test_which_alternatives() -> None:
    assert AltPo().needs.alternatives == "plausible"
    assert IdkDpo().needs.alternatives == O3().needs.alternatives == "idk"
    assert not O3().needs.original


def test_the_inverted_hinge() -> None:
    # Of three tokens: 1 + 0.5 - 0.3, and 1 + 0.1 - 0.6; the padding would have been 1 + 1 - 0.
    answers = said([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]], [[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]], labels=[[0, 2], [1, -100]])
    loss = Ihl()(ForgetBatch(answers))
    assert loss.item() == pytest.approx((1.2 + 0.5 + 1.2) / 3)


def test_the_inverted_hinge_lets_the_runner_up_in() -> None:
    answers = said([[0.5, 0.3, 0.2]], labels=[[0]])
    towards = pull(Ihl()(ForgetBatch(answers)), answers)[0, 0].tolist()
    # With p = (0.5, 0.3, 0.2): d/dz_i of p_0 - p_1 = p_i ([i = 0] - [i = 1] - (p_0 - p_1)).
    assert towards == pytest.approx([-0.5 * (1 - 0.2), -0.3 * (-1 - 0.2), 0.2 * 0.2])


def test_rmu() -> None:
    method = Rmu(coefficient=4.0, seed=5)
    u = method.direction(2)
    assert u.norm().item() == pytest.approx(1.0)
    assert torch.equal(u, Rmu(seed=5).direction(2))
    assert not torch.equal(u, Rmu(seed=6).direction(2))
    # Off by (1, 1) at the first token: mean of squares 1. At the target: 0. The padding is far off.
    hidden = torch.stack([torch.stack([4 * u + 1, 4 * u]), torch.stack([4 * u, 4 * u + 100])]).requires_grad_()
    answers = dataclasses.replace(two(), hidden=hidden)
    loss = method(ForgetBatch(answers))
    assert loss.item() == pytest.approx(1 / 3, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, hidden)
    # d/dh of the mean over 2 dimensions and 3 tokens of (h - target)^2 is (h - target) / 3.
    assert gradient[0, 0].tolist() == pytest.approx([1 / 3, 1 / 3], rel=1e-4)
    assert gradient[1, 1].tolist() == [0.0, 0.0]
    assert Rmu().needs.layer == 7
    with pytest.raises(ValueError, match="hidden states"):
        method(ForgetBatch(two()))


def test_o3_towards_refusals() -> None:
    refusal = said([QUARTER], labels=[[1]])
    loss = O3()(ForgetBatch(None, refusal))
    assert loss.item() == pytest.approx(LN[4])
    assert pull(loss, refusal)[0, 0, 1].item() == pytest.approx(0.75)
    assert O3().weights == (1.0, 0.0)


def test_o3_towards_random_labels() -> None:
    # Over four equal tokens every label costs ln 4; the padding's sure token would cost nothing or everything.
    even, sure = [0.25] * 4, [1.0, 0.0, 0.0, 0.0]
    answers = said([even, even], [even, sure], labels=[[0, 0], [0, -100]])
    torch.manual_seed(0)
    assert O3(labels="random")(ForgetBatch(answers)).item() == pytest.approx(LN[4])
    skew = said([[0.5, 0.25, 0.125, 0.125]], labels=[[0]])
    found = {round(O3(labels="random")(ForgetBatch(skew)).item(), 4) for _ in range(100)}
    assert found == {round(LN[2], 4), round(LN[4], 4), round(LN[8], 4)}


def test_ngdiff_combines_unit_gradients() -> None:
    retain = [torch.tensor([3.0, 0.0]), torch.tensor([4.0])]
    forget = [torch.tensor([0.0, -6.0]), torch.tensor([8.0])]
    one, other = combine(forget, retain)
    assert one.tolist() == pytest.approx([0.6, 0.6])
    assert other.tolist() == pytest.approx([0.8 - 0.8])
    one, other = combine(forget, retain, (0.5, 2.0))
    assert one.tolist() == pytest.approx([1.2, 0.3])
    assert other.tolist() == pytest.approx([1.6 - 0.4])


def test_ngdiff_with_a_gradient_of_nothing() -> None:
    (only,) = combine([torch.zeros(2)], [torch.tensor([0.0, 2.0])])
    assert only.tolist() == [0.0, 1.0]


def test_ngdiff_asks_for_both_gradients() -> None:
    # Retain loss 3 x + 4 y, forget loss 5 y: (3, 4) / 5 - (0, 5) / 5.
    x, y = torch.tensor(1.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    gradients = NgDiff().gradients(5 * y, 3 * x + 4 * y, [x, y])
    assert [gradient.item() for gradient in gradients] == pytest.approx([0.6, -0.2])
    with pytest.raises(ValueError, match="retain set"):
        NgDiff().gradients(5 * y, None, [x, y])


def test_others_ask_for_the_weighted_sum() -> None:
    x, y, unused = (torch.tensor(1.0, requires_grad=True) for _ in range(3))
    gradients = GradDiff(weights=(0.5, 2.0)).gradients(5 * y, 3 * x + 4 * y, [x, y, unused])
    assert [gradient.item() for gradient in gradients] == pytest.approx([6.0, 10.5, 0.0])
    (alone,) = GradDiff(weights=(0.5, 0.0)).gradients(5 * y, None, [y])
    assert alone.item() == pytest.approx(2.5)


def test_the_vertex_of_a_parabola() -> None:
    # (x - 3)^2 + 1 at -1, 0 and 1.
    assert vertex(17.0, 10.0, 5.0) == pytest.approx(3.0)
    # 2 (x + 0.25)^2.
    assert vertex(1.125, 0.125, 3.125) == pytest.approx(-0.25)
    assert vertex(1.0, 2.0, 1.0) is None  # concave
    assert vertex(3.0, 2.0, 1.0) is None  # a line
    assert vertex(math.nan, 2.0, 1.0) is None
    assert vertex(math.inf, 2.0, 1.0) is None


def test_the_learning_rate_follows_the_vertex_within_bounds() -> None:
    method = NgDiff(most=4.0)
    assert method.stretch(17.0, 10.0, 5.0) == pytest.approx(3.0)
    assert method.stretch(101.0, 82.0, 65.0) == 4.0  # (x - 9)^2 + 1
    assert method.stretch(1.125, 0.125, 3.125) == 0.25  # lowest behind
    assert method.stretch(1.0, 2.0, 1.0) == 1.0  # no lowest point
    assert method.needs.search_every == 10


@given(st.floats(-5, 5), st.floats(0.01, 10), st.floats(-3, 3))
def test_any_convex_parabola_is_found(place: float, curvature: float, height: float) -> None:
    losses = [curvature * (x - place) ** 2 + height for x in (-1, 0, 1)]
    assert vertex(*losses) == pytest.approx(place, abs=1e-6)


def test_retain_terms() -> None:
    current = two()
    reference = said([QUARTER, QUARTER], [HALF, EIGHTH], labels=LABELS)
    assert nll(current, lambda: reference).item() == pytest.approx((LN[2] + LN[4] + LN[8]) / 3)
    # KL((3/4, 1/4) || (1/2, 1/2)) + 0 + KL((1/2, 1/2) || (7/8, 1/8)), over three tokens.
    first = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    third = 0.5 * math.log(4 / 7) + 0.5 * math.log(4)
    loss = kl(current, lambda: reference)
    assert loss.item() == pytest.approx((first + third) / 3)
    # Towards the reference: d/dz = p - p_ref.
    assert pull(loss, current)[0, 0].tolist() == pytest.approx([0.25 / 3, -0.25 / 3])


def test_nll_does_not_ask_for_the_reference() -> None:
    def unasked() -> Answers:
        raise AssertionError

    nll(two(), unasked)


def test_what_there_is() -> None:
    assert LOSSES.names() == (
        "altpo", "graddiff", "idkdpo", "ihl", "memorise", "ngdiff", "npo", "o3", "rmu", "simnpo",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "options", "field"),
    [
        (Npo, {"beta": 0.0}, "beta"),
        (SimNpo, {"beta": -1.0}, "beta"),
        (SimNpo, {"delta": math.inf}, "delta"),
        (AltPo, {"beta": math.nan}, "beta"),
        (Rmu, {"coefficient": 0.0}, "coefficient"),
        (Rmu, {"layer": -1}, "layer"),
        (NgDiff, {"every": 0}, "every"),
        (NgDiff, {"most": 1.0}, "most"),
        (NgDiff, {"weights": (1.0, 0.0)}, "weights"),
        (O3, {"labels": "other"}, "labels"),
        (GradDiff, {"weights": (1.0, -1.0)}, "weights"),
        (GradDiff, {"weights": (1.0,)}, "weights"),
    ],
)
def test_options_without_sense(method: type, options: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} must"):
        method(**options)


@pytest.mark.parametrize("name", LOSSES.names())
def test_a_loss_says_what_it_misses(name: str) -> None:
    with pytest.raises(ValueError, match="this loss needs"):
        LOSSES.get(name)()(ForgetBatch())


tokens = st.lists(st.lists(st.integers(-1, 3), min_size=3, max_size=3), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(LOSSES.names()), tokens, st.integers(0, 10_000))
def test_losses_and_their_gradients_are_finite_and_padding_has_none(
    name: str, rows: list[list[int]], seed: int
) -> None:
    labels = torch.tensor(rows).where(torch.tensor(rows) >= 0, -100)
    labels[:, 0] = labels[:, 0].clamp(min=0)
    draw = torch.Generator().manual_seed(seed)
    made = [
        Answers(
            (5 * torch.randn(*labels.shape, 4, generator=draw)).requires_grad_(),
            labels,
            torch.randn(*labels.shape, 5, generator=draw, requires_grad=True),
            -torch.rand(len(labels), generator=draw),
        )
        for _ in range(2)
    ]
    loss = LOSSES.get(name)()(ForgetBatch(*made))
    loss.backward()
    assert loss.shape == ()
    assert loss.isfinite()
    for answers in made:
        for tensor in (answers.logits, answers.hidden):
            if tensor is not None and tensor.grad is not None:
                assert tensor.grad.isfinite().all()
                assert not tensor.grad[~answers.mask].any()
