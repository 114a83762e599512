"""What these start keeps this computer busy: no agent waits until it is quiet."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def _impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISTILLFARM_AGENT_GATE_PATIENCE_S", "0")
        yield
