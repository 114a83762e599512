"""Content-addressed files: where they are kept, and how they travel in resumable chunks."""

from distillfarm.wire.blobs.local import LocalBlobs
from distillfarm.wire.blobs.opening import open_blobs
from distillfarm.wire.blobs.protocol import BlobStore
from distillfarm.wire.blobs.remote import RemoteBlobs
from distillfarm.wire.blobs.transfer import download_blob, upload_blob

__all__ = [
    "BlobStore",
    "LocalBlobs",
    "RemoteBlobs",
    "download_blob",
    "open_blobs",
    "upload_blob",
]
