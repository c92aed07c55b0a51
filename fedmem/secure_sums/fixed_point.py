"""Fixed point: real numbers of many clients as whole numbers that wrap around, and their sum as real numbers again."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.errors import ConfigError, TrainingError

FloatArray = npt.NDArray[np.floating]
Words = npt.NDArray[np.unsignedinteger[Any]]
FEWEST_BITS = 8  # behind the point; with fewer an update would be noise


@dataclass(frozen=True)
class FixedPoint:
    """Whole numbers modulo 2^bits, of which those of so many clients add up without running over.

    A number x is sent as round(x · 2^f), after x is clipped to ±clip. f is the greatest for which clients · clip · 2^f
    stays below 2^(bits - 1), so that the sum of n of them is off by n / 2 · 2^-f at most.

    Attributes:
        bits: 32 or 64.
        clip: the greatest absolute value that a client can send.
        clients: how many send at most.

    Raises:
        ConfigError: if too few bits are left behind the point.
    """

    bits: int
    clip: float
    clients: int

    def __post_init__(self) -> None:
        if self.fraction_bits < FEWEST_BITS:
            raise ConfigError(
                f"secure_sums.clip = {self.clip:g} leaves {self.fraction_bits} of {self.bits} bits behind the point "
                f"for {self.clients:,} clients: lower it, or set secure_sums.bits to 64"
            )

    @property
    def fraction_bits(self) -> int:
        """f."""
        return self.bits - 1 - math.frexp(self.clients * self.clip)[1]

    @property
    def step(self) -> float:
        """2^-f, the difference of neighbouring numbers."""
        return 2.0**-self.fraction_bits

    def encode(self, values: FloatArray, senders: int = 1) -> tuple[Words, int]:
        """Write a client's numbers, or the sum of several clients' numbers, as words; tell how many had to be clipped.

        Args:
            values: the numbers.
            senders: of how many of the clients they are the sum.

        Raises:
            TrainingError: if one is not finite.
        """
        largest = float(np.abs(values).max(initial=0.0))
        if not math.isfinite(largest):
            raise TrainingError(
                "training diverged: a client's update is not finite, so that it was not sent. Lower "
                "federated.server_learning_rate or training.learning_rate."
            )
        if self.bits == 32 and values.dtype == np.float32 and largest <= senders * self._most * self.step:
            scaled = np.rint(values * np.float32(2.0**self.fraction_bits))  # exact: it moves the exponent alone
            return scaled.astype(np.int32).view(np.uint32), 0
        return self._clipped(values, senders)

    @property
    def _most(self) -> int:
        """The greatest whole number that stands for a value."""
        return math.floor(self.clip * 2.0**self.fraction_bits)

    def _clipped(self, values: FloatArray, senders: int) -> tuple[Words, int]:
        most = senders * self._most
        scaled = np.rint(np.multiply(values, 2.0**self.fraction_bits, dtype=np.float64)).clip(-most, most)
        signed, clipped = scaled.astype(np.int64), int((np.abs(values) > senders * self.clip).sum())
        return (signed.astype(np.int32).view(np.uint32) if self.bits == 32 else signed.view(np.uint64)), clipped

    def decode(self, words: Words) -> npt.NDArray[np.float64]:
        """Read the sum of what clients sent."""
        signed = words.view(np.int32) if self.bits == 32 else words.view(np.int64)
        return signed.astype(np.float64) * self.step
