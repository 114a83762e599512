"""Which store a URL means."""

from pathlib import Path
from urllib.parse import urlsplit

from distillfarm.domain.errors import InvalidRequest, MissingExtra
from distillfarm.wire.blobs.local import LocalBlobs
from distillfarm.wire.blobs.protocol import BlobStore
from distillfarm.wire.blobs.remote import RemoteBlobs
from distillfarm.wire.transport import PLAINTEXT, ClientSecurity


def open_blobs(
    url: str,
    cache: Path,
    security: ClientSecurity = PLAINTEXT,
    limit_bytes: int | None = None,
) -> BlobStore:
    """The store of a folder (a path or ``file://``), ``s3://bucket/prefix`` or ``grpc://host:port``.

    ``cache`` is a local folder for what lies elsewhere; ``security`` is for ``grpc://``; S3's
    credentials, region and endpoint come from the usual ``AWS_`` variables. ``limit_bytes`` bounds
    the folder, or the cache.

    Raises:
        InvalidRequest: another scheme.
        MissingExtra: ``s3://`` without obstore.
    """
    parts = urlsplit(url)
    if parts.scheme == "grpc":
        return RemoteBlobs(parts.netloc, LocalBlobs(cache, limit_bytes), security)
    if parts.scheme == "s3":
        return _open_s3(url, LocalBlobs(cache, limit_bytes))
    if parts.scheme == "file":
        return LocalBlobs(Path(parts.path), limit_bytes)
    if parts.scheme:
        raise InvalidRequest(f"blobs at {url!r}: write a folder, s3://bucket or grpc://host:port")
    return LocalBlobs(Path(url), limit_bytes)


def _open_s3(url: str, cache: LocalBlobs) -> BlobStore:
    try:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - an optional extra
        from obstore.store import from_url  # noqa: PLC0415

        from distillfarm.wire.blobs.objects import ObjectBlobs  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra(f"{url}: pip install 'distillfarm[s3]'") from error
    try:
        return ObjectBlobs(from_url(url), cache)
    except (BaseError, ValueError) as error:
        raise InvalidRequest(f"blobs at {url!r}: {error}") from error
