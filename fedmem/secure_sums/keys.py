"""Keys: X25519 (RFC 7748), and seeds of masks derived from them by HKDF (RFC 5869)."""

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedmem.secure_sums.masks import SEED_BYTES


def public_key(private_key: bytes) -> bytes:
    """Return the public key of a private one, 32 bytes each."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def agreement(private_key: bytes, label: bytes) -> Callable[[bytes], bytes]:
    """Return what derives, from another client's public key, the seed that both share in the session of this label."""
    own = X25519PrivateKey.from_private_bytes(private_key)

    def seed(other: bytes) -> bytes:
        agreed = own.exchange(X25519PublicKey.from_public_bytes(other))
        return HKDF(SHA256(), SEED_BYTES, salt=None, info=label).derive(agreed)

    return seed
