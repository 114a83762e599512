"""Identifiers: how things are named, and what a well-formed name looks like."""

import hashlib
import re
import secrets

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def fresh_id(kind: str) -> str:
    """A new random identifier such as ``study-3f9a1c02b7``; 40 random bits after the kind."""
    return f"{kind}-{secrets.token_hex(5)}"


def digest_bytes(content: bytes) -> str:
    """The digest that names ``content`` everywhere: ``sha256:`` and 64 lower-case hex digits."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def derived_id(kind: str, *parts: str) -> str:
    """An identifier that is the same for the same parts: an idempotency key.

    Parts are length-prefixed, so ``("ab", "c")`` and ``("a", "bc")`` differ.
    """
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def is_digest(text: str) -> bool:
    """Whether ``text`` is a well-formed digest."""
    return _DIGEST.fullmatch(text) is not None
