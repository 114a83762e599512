"""How large a file is once an app's package has stored it."""

import zlib
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_LEVEL = 6


def packed_bytes(path: Path) -> int:
    """The size after DEFLATE (RFC 1951) at zlib's usual level: what APK, IPA and downloads hold.

    Weights that repeat, as pruned and clustered ones do, cost little here and full price on disk.
    """
    packer = zlib.compressobj(_LEVEL)
    with path.open("rb") as file:
        size = sum(
            len(packer.compress(chunk)) for chunk in iter(lambda: file.read(_CHUNK_BYTES), b"")
        )
    return size + len(packer.flush())
