"""Masks: AES-CTR's keystream, which can be taken off again."""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedmem.secure_sums.masks import add_mask


def test_a_mask_is_the_keystream_of_the_standard():
    """NIST SP 800-38A has no vectors for a zero counter block; its first block is AES itself (FIPS 197, C.1)."""
    key, plain = bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff")

    assert (
        Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(plain).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
    )
    lane = np.zeros(4, np.uint32)
    add_mask([lane], key, 1)
    assert lane.tobytes() == Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(bytes(16))


def test_what_is_added_can_be_subtracted_over_several_blocks_and_lanes():
    rng = np.random.default_rng(0)
    lanes = [rng.integers(0, 2**32, 100_000, np.uint32), rng.integers(0, 2**64, 40_000, np.uint64)]
    before = [lane.copy() for lane in lanes]
    add_mask(lanes, bytes(16), 1)
    assert all((lane == old).mean() < 0.001 for lane, old in zip(lanes, before, strict=True))
    assert not np.array_equal(lanes[0][: 1 << 15], lanes[0][1 << 15 : 1 << 16])  # the counter goes on
    add_mask(lanes, bytes(16), -1)
    assert all(np.array_equal(lane, old) for lane, old in zip(lanes, before, strict=True))
