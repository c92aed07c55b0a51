"""Masks: pseudorandom words from a seed, as long as what is masked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Words = npt.NDArray[np.unsignedinteger[Any]]
SEED_BYTES = 16
_BLOCK = 1 << 17  # bytes at a time, which stay in the processor's cache
_ZEROS = bytes(_BLOCK)


def add_mask(lanes: Sequence[Words], seed: bytes, sign: int) -> None:
    """Add a seed's mask to words in place, or subtract it; each lane wraps around at its own number of bits.

    The mask is the keystream of AES-128 in counter mode; a seed makes one mask, never two.

    Args:
        lanes: contiguous arrays, masked one behind the other.
        seed: 16 bytes.
        sign: 1 or -1.
    """
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()
    buffer = bytearray(_BLOCK + 15)  # the library asks for a block more than it writes
    for lane in lanes:
        size = lane.itemsize
        words = np.frombuffer(buffer, lane.dtype.newbyteorder("<"), _BLOCK // size)
        for first in range(0, len(lane), _BLOCK // size):
            part = lane[first : first + _BLOCK // size]
            stream.update_into(memoryview(_ZEROS)[: len(part) * size], buffer)
            (np.add if sign > 0 else np.subtract)(part, words[: len(part)], out=part)
