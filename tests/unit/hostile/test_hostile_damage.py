"""Cut and bit-flipped files of every format: a clear rejection or a sound model, nothing else."""

from pathlib import Path

import format_models
import pytest
from hostile_tasks import Fate, Fuzz, Look

from distillfarm.domain.errors import ModelRejected
from distillfarm.sandbox import Limits, tasks

LIMITS = Limits(memory_bytes=3 * 1024**3, wall_s=240, disk_bytes=256 * 1024**2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [each for each in format_models.FORMATS if "saved" not in each])
def test_damaged_file_is_rejected_or_sound(workplace: Path, kind: str) -> None:
    path = format_models.write(kind, workplace / "files")
    state = path.suffix in (".pt", ".safetensors")
    request = Fuzz(
        str(path),
        str(workplace / "scratch" / "work"),
        str(path.with_name("factory.py")) if state else "",
        truncations=8,
        flips=24,
        seed=7,
    )
    fates = tasks.run(
        "hostile_tasks:fuzz",
        request,
        list[Fate],
        limits=LIMITS,
        folder=workplace / "scratch" / "work",
    )
    assert len(fates) == 33
    wrong = [each for each in fates if each.end not in ("sound", "rejected", "died")]
    assert not wrong
    cut = [each for each in fates if each.damage.startswith("cut")]
    assert all(each.end in ("rejected", "died") for each in cut)


@pytest.mark.parametrize("kind", ["tflite", "onnx", "saved_model.tar"])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_damaged_file_through_the_front_door(
    look: Look, workplace: Path, kind: str, share: float
) -> None:
    path = format_models.write(kind, workplace / "files")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert type(look(path)) is ModelRejected


def test_crash_of_a_runtime_is_a_rejection(look: Look, workplace: Path) -> None:
    """An offset flipped in a flatbuffer may crash LiteRT; whatever it does stays in the sandbox."""
    path = format_models.write("tflite", workplace / "files")
    whole = path.read_bytes()
    for place in range(0, 64, 9):
        damaged = bytearray(whole)
        damaged[place] ^= 0x40
        path.write_bytes(damaged)
        error = look(path)
        assert error is None or type(error) is ModelRejected


def test_fuzzing_starts_from_a_sound_file(look: Look, workplace: Path) -> None:
    assert look(format_models.write("tflite", Path(workplace / "files"))) is None
