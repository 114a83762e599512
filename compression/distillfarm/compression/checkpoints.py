"""The state of an unfinished training, written after every epoch and found when it starts again."""

from pathlib import Path
from typing import Any

import torch

_NAME = "training.pt"


class Checkpoint:
    """A file in ``folder``; without a folder nothing is kept and nothing is found."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / _NAME if folder else None

    def save(self, state: dict[str, Any]) -> None:
        """Keep tensors, numbers and text in place of what was kept before, never half of it."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self._path)

    def load(self) -> dict[str, Any] | None:
        """What was kept last; None if nothing was, or if it cannot be read."""
        if self._path is None or not self._path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self._path, weights_only=True)
        except Exception:  # noqa: BLE001
            # Damaged bytes make the reader raise anything; the training then starts anew.
            return None
        return state
