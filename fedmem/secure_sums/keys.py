"""Keys: X25519 (RFC 7748), and seeds of masks derived from them by HKDF (RFC 5869)."""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedmem.secure_sums.masks import SEED_BYTES


def public_key(private_key: bytes) -> bytes:
    """Return the public key of a private one, 32 bytes each."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def agreed_seed(private_key: bytes, other: bytes, label: bytes) -> bytes:
    """Derive the seed that two clients share in a session, from one's private key and the other's public key."""
    agreed = X25519PrivateKey.from_private_bytes(private_key).exchange(X25519PublicKey.from_public_bytes(other))
    return HKDF(SHA256(), SEED_BYTES, salt=None, info=label).derive(agreed)
