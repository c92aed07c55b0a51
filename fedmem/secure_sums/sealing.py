"""Sealing: what one client writes for another, and the server that carries it cannot read."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedmem.errors import TrainingError
from fedmem.secure_sums.keys import agreement

NONCE_BYTES = 12


def seal(private_key: bytes, public_key: bytes, label: bytes, content: bytes) -> bytes:
    """Encrypt what the owner of the public key alone can read: AES-GCM (NIST SP 800-38D) with the key both agree on.

    Args:
        private_key: of who writes. It is for sealing alone: a key that masks may be revealed.
        public_key: of who reads.
        label: who writes to whom about what; another label than at opening is refused.
        content: what is written.
    """
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(private_key, public_key).encrypt(nonce, content, label)


def unseal(private_key: bytes, public_key: bytes, label: bytes, sealed: bytes) -> bytes:
    """Read what was sealed.

    Raises:
        TrainingError: if it was sealed by another, for another, or changed on its way.
    """
    nonce, content = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        return _cipher(private_key, public_key).decrypt(nonce, content, label)
    except (InvalidTag, ValueError):
        raise TrainingError("what a neighbour of a secure sum has sealed cannot be opened: it was changed") from None


def _cipher(private_key: bytes, public_key: bytes) -> AESGCM:
    return AESGCM(agreement(private_key, b"sealed shares")(public_key))
