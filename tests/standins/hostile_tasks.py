"""Tasks of these tests, run in the sandbox: a model that is run, and many that are damaged."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from distillfarm.compression.inference import open_model
from distillfarm.compression.ingest import IngestRequest, inspect
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.errors import FarmError, ModelRejected
from distillfarm.domain.model import ModelFormat
from distillfarm.sandbox.limits import Limits


def run_on_ones(request: str, report: Callable[[float, str], None]) -> float:
    """The first value of the output for an input of ones."""
    predictor = open_model(WorkingModel(Path(request), ModelFormat.ONNX), 1)
    report(0.5, "running")
    return float(predictor({"x": np.ones(3, np.float32)})["y"][0])


class Look(Protocol):
    """Looks at a file as the command line does; what it raised, None if it was found sound."""

    def __call__(self, path: Path, factory: str = "", limits: Limits = ...) -> FarmError | None: ...


@dataclass(frozen=True)
class Fuzz:
    """Damage ``path`` in many ways; ``factory`` is the file of a state dict's factory, or empty."""

    path: str
    folder: str
    factory: str
    truncations: int
    flips: int
    seed: int


@dataclass(frozen=True)
class Fate:
    """What became of one damaged copy: ``sound``, ``rejected``, ``died`` or ``raised``."""

    damage: str
    end: str
    text: str


def fuzz(request: Fuzz, report: Callable[[float, str], None]) -> list[Fate]:
    """Inspect every damaged copy in a fork of its own, so that the frameworks load only once."""
    whole = Path(request.path).read_bytes()
    request_of = IngestRequest(
        request.path, request.folder, request.factory, "make" if request.factory else ""
    )
    inspect(request_of, lambda *_: None)
    return [
        _fate(damage, content, request_of, number)
        for number, (damage, content) in enumerate(_damaged(whole, request))
    ]


def _damaged(whole: bytes, request: Fuzz) -> Iterator[tuple[str, bytes]]:
    for share in np.linspace(0, 1, request.truncations, endpoint=False):
        yield f"cut at {share:.2f}", whole[: max(1, int(len(whole) * share))]
    yield "last byte missing", whole[:-1]
    random = np.random.default_rng(request.seed)
    for _ in range(request.flips):
        # Most of a model is weights; its structure lies in its first and last bytes.
        start, end = [(0, 1), (0, 0.05), (0.9, 1)][random.integers(3)]
        place = int(random.integers(int(len(whole) * start), max(1, int(len(whole) * end))))
        changed = bytearray(whole)
        changed[place] ^= 1 << int(random.integers(8))
        yield f"bit flipped in byte {place}", bytes(changed)


def _fate(damage: str, content: bytes, request: IngestRequest, number: int) -> Fate:
    folder = Path(request.folder) / f"copy{number}"
    folder.mkdir(parents=True)
    path = folder / Path(request.path).name
    path.write_bytes(content)
    said = folder / "said"
    child = os.fork()
    if child == 0:
        said.write_text(_inspected(replace(request, path=str(path), folder=str(folder))))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    end, _, text = said.read_text().partition(":") if status == 0 else ("died", "", str(status))
    return Fate(damage, end, text)


def _inspected(request: IngestRequest) -> str:
    try:
        inspect(request, lambda *_: None)
    except ModelRejected as error:
        return f"rejected:{error}"
    except BaseException as error:  # noqa: BLE001 - that is what is looked for
        return f"raised:{error!r}"
    return "sound:"
