"""A store with a finished study behind the pages."""

from pathlib import Path

import pytest
from small_farm import populate

from distillfarm.controller.store.protocol import Store
from distillfarm.controller.store.sql import SqlStore
from distillfarm.wire.blobs import BlobStore, LocalBlobs


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SqlStore(f"sqlite:///{tmp_path / 'farm.sqlite'}")


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def farm(store: Store, blobs: BlobStore) -> Store:
    """A store whose study is done."""
    populate(store, blobs)
    return store
