"""What keeps a new adapter out of the way of earlier ones (O3: Gao et al., ICLR 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def overlap(earlier: Mapping[str, Tensor], current: Mapping[str, Tensor]) -> Tensor:
    """Sum over adapted layers of |A_earlier A_current^T|_F^2, a scalar: 0 where no row has anything in common.

    Both map a layer to its A, [rank, inputs]. The A's of several earlier requests, one below the other, count as
    the sum over the requests.

    Raises:
        ValueError: they adapt different layers.
    """
    if earlier.keys() != current.keys():
        raise ValueError("the earlier adapter adapts other layers than the new one")
    return torch.stack([(earlier[name] @ a.T).square().sum() for name, a in current.items()]).sum()
