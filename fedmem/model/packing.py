"""Several segments in one row of tokens: no padding but at the row's end, where clients' rows differ in length.

Only attention sees segments; every other layer works on tokens. A client's tokens stand in one row [C, P] and are moved
into segments [S, T] and back around the attention.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class _Move(torch.autograd.Function):
    """Rows x[index], where the gradient of a row is that of the one place it moved to, or zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, back: Tensor, absent: Tensor) -> Tensor:
        """Take [n, D] at [m] to [m, D]."""
        ctx.save_for_backward(back, absent)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Take [m, D] back to [n, D]."""
        back, absent = ctx.saved_tensors
        return gradient.index_select(0, back).index_fill_(0, absent, 0), None, None, None


@dataclass(frozen=True, eq=False)
class Moves:
    """Between tokens of rows and places of segments, head by head.

    Attributes:
        token: for each place of a segment the token in it [S·H·T], any token at padding.
        place: for each token its place [C·P·H], any place at padding.
        empty_places: places of no token.
        empty_tokens: tokens that are padding.
    """

    token: Tensor
    place: Tensor
    empty_places: Tensor
    empty_tokens: Tensor


class Packing:
    """Where each token of C rows stands within S segments.

    Args:
        client: the row of each segment, ascending from 0 to C − 1 [S].
        length: tokens of each segment [S].
        clients: C.
        device: where tensors live.

    Attributes:
        position: place of each token in its segment [C, P]; 0 is a start, and stands at padding.
        width: length T of the longest segment.
    """

    def __init__(
        self,
        client: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
        clients: int,
        device: torch.device | None = None,
    ) -> None:
        self._device = device
        self._moves: dict[int, Moves] = {}
        tokens = np.bincount(client, length, clients).astype(np.int64)  # [C]
        self.width, row_width = int(length.max()), int(tokens.max())
        segment = np.repeat(np.arange(len(length)), length)  # of each token in order
        position = np.arange(len(segment)) - np.repeat(np.cumsum(length) - length, length)
        row = client[segment]
        column = np.arange(len(segment)) - (np.cumsum(tokens) - tokens)[row]
        in_row = np.zeros((clients, row_width), np.int64)
        in_row[row, column] = position
        self.position = torch.from_numpy(in_row).to(device)
        self._row_width, self._shape = row_width, (len(length), clients * row_width)
        self._segment, self._place, self._token = segment, position, row * row_width + column

    def moves(self, heads: int) -> Moves:
        """Make the moves for ``heads`` heads."""
        if heads not in self._moves:
            self._moves[heads] = self._find_moves(heads)
        return self._moves[heads]

    def _find_moves(self, heads: int) -> Moves:
        segments, tokens = self._shape
        head = np.arange(heads)[:, None]
        places = ((self._segment * heads + head) * self.width + self._place).ravel()  # [H·n]
        pieces = (self._token * heads + head).ravel()
        token, place = np.zeros(segments * heads * self.width, np.int64), np.zeros(tokens * heads, np.int64)
        token[places], place[pieces] = pieces, places
        no_token, no_place = np.ones(len(token), bool), np.ones(len(place), bool)
        no_token[places] = no_place[pieces] = False
        found = (token, place, np.flatnonzero(no_token), np.flatnonzero(no_place))
        return Moves(*(torch.from_numpy(indices).to(self._device) for indices in found))

    def to_segments(self, x: Tensor, heads: int = 1) -> Tensor:
        """Move [C, P, D] to [S·H, T, D/H], a segment's heads one after the other."""
        moves = self.moves(heads)
        pieces = x.reshape(-1, x.shape[-1] // heads)
        moved: Tensor = _Move.apply(pieces, moves.token, moves.place, moves.empty_tokens)  # type: ignore[no-untyped-call]
        return moved.view(-1, self.width, moved.shape[-1])

    def to_rows(self, x: Tensor, heads: int = 1) -> Tensor:
        """Move [S·H, T, D/H] to [C, P, D]."""
        moves = self.moves(heads)
        moved: Tensor = _Move.apply(x.flatten(0, 1), moves.place, moves.token, moves.empty_places)  # type: ignore[no-untyped-call]
        return moved.view(-1, self._row_width, moved.shape[-1] * heads)
