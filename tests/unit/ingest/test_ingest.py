"""Every source format is recognised by its content, read, opened and counted alike."""

import shutil
import subprocess
import sys
from pathlib import Path

import format_models
import numpy as np
import onnx
import pytest
import torch

from distillfarm.compression import ingest, inspection, readers
from distillfarm.compression.inference import open_model
from distillfarm.compression.ingest import Ingested, IngestRequest
from distillfarm.compression.protocols import WorkingModel
from distillfarm.compression.sources import model_file
from distillfarm.domain.errors import InvalidRequest, MissingExtra, ModelRejected
from distillfarm.domain.model import ModelFormat, TensorSpec
from distillfarm.sandbox import Limits

# Each file is read in a process of its own, which loads a framework.
pytestmark = pytest.mark.slow

LIMITS = Limits(wall_s=120)
EXPECTED = {
    "onnx": ModelFormat.ONNX,
    "tflite": ModelFormat.TFLITE,
    "pt2": ModelFormat.TORCH_EXPORT,
    "pt": ModelFormat.TORCH_STATE,
    "old.pt": ModelFormat.TORCH_STATE,
    "safetensors": ModelFormat.TORCH_STATE,
    "keras": ModelFormat.KERAS,
    "h5": ModelFormat.KERAS,
    "saved_model.tar": ModelFormat.SAVED_MODEL,
}


def take_in(
    path: Path, folder: Path, *, factory: str = "", factory_function: str = "", data: str = ""
) -> Ingested:
    request = IngestRequest(str(path), str(folder), factory, factory_function, data)
    return ingest.take_in(request, limits=LIMITS)


@pytest.mark.parametrize("kind", format_models.FORMATS)
def test_one_network_counts_the_same_in_every_format(tmp_path: Path, kind: str) -> None:
    path = format_models.write(kind, tmp_path)
    found = inspection.inspect(path, factory=format_models.factory_for(path))
    assert found.format is EXPECTED[kind]
    assert found.parameters == format_models.PARAMETERS
    assert found.macs == format_models.MACS
    assert found.size_bytes == path.stat().st_size
    assert found.dtypes == ("float32",)
    (given,) = found.signature.inputs
    assert given.dtype == "float32"
    assert sorted(given.shape[1:]) == [3, 32, 32]
    assert found.signature.outputs[0].shape[-1] == 4
    assert any("does 100% of 194.4 k multiply-accumulates" in each for each in found.bottlenecks)
    assert sum(each.parameters for each in found.layers) == format_models.PARAMETERS
    assert sum(each.macs for each in found.layers) == format_models.MACS


def test_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    path = format_models.write("onnx", tmp_path)
    disguised = path.rename(tmp_path / "model.tflite")
    assert inspection.inspect(disguised).format is ModelFormat.ONNX


def test_plain_file_is_kept_as_it_is(tmp_path: Path) -> None:
    path = format_models.write("onnx", tmp_path)
    taken = take_in(path, tmp_path / "work")
    assert (taken.path, taken.format) == (str(path), ModelFormat.ONNX)
    assert taken.signature.inputs == (TensorSpec("image", "float32", (-1, 3, 32, 32)),)
    assert taken.signature.outputs == (TensorSpec("scores", "float32", (-1, 4)),)


@pytest.mark.parametrize("kind", ["pt", "safetensors", "pt2"])
def test_torch_model_answers_as_before_after_ingesting(tmp_path: Path, kind: str) -> None:
    path = format_models.write(kind, tmp_path)
    function = "make" if kind != "pt2" else ""
    factory = str(tmp_path / "factory.py") if function else ""
    taken = take_in(path, tmp_path / "work", factory=factory, factory_function=function)
    image = np.random.default_rng(0).normal(size=(5, 3, 32, 32)).astype(np.float32)
    answers = open_model(WorkingModel(Path(taken.path), taken.format), 1)({"image": image})
    with torch.no_grad():
        expected = format_models.torch_module()(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(answers["output_0"].astype(np.float32), expected, atol=1e-6)


def test_folder_with_external_data_becomes_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(
        format_models.onnx_model(),
        folder / "model.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    assert inspection.inspect(folder).parameters == format_models.PARAMETERS
    with pytest.raises(ModelRejected, match=r"outside the file, in 'weights.bin'; give the folder"):
        inspection.inspect(folder / "model.onnx")
    whole = take_in(model_file(folder, tmp_path), tmp_path / "work")
    shutil.rmtree(folder)
    image = np.ones((2, 3, 32, 32), np.float32)
    plain = format_models.write("onnx", tmp_path)
    answers = open_model(WorkingModel(Path(whole.path), ModelFormat.ONNX), 1)({"image": image})
    expected = open_model(WorkingModel(plain, ModelFormat.ONNX), 1)({"image": image})
    np.testing.assert_array_equal(answers["scores"], expected["scores"])


def write_state(folder: Path, factory: str) -> Path:
    path = format_models.write("pt", folder)
    (folder / "factory.py").write_text(factory)
    return path


def test_shapes_of_a_state_dict_come_from_the_data(tmp_path: Path) -> None:
    path = write_state(tmp_path, format_models.FACTORY)
    images = np.zeros((30, 3, 40, 40), np.float32)
    np.savez(tmp_path / "data.npz", image=images, label=np.zeros(30, np.int64))
    taken = take_in(
        path,
        tmp_path / "work",
        factory=str(tmp_path / "factory.py"),
        factory_function="make",
        data=str(tmp_path / "data.npz"),
    )
    assert taken.signature.inputs == (TensorSpec("image", "float32", (-1, 3, 40, 40)),)


FAULTS = {
    "no examples": (format_models.FACTORY, "make", "example_inputs"),
    "no function": (format_models.FACTORY, "build", "'build' failed: AttributeError"),
    "raises": (
        "def make(): raise ValueError('out\\nof\\nluck')",
        "make",
        "ValueError: out\nof\nluck",
    ),
    "no module": ("def make(): return 3", "make", "gave int, no torch.nn.Module"),
    "other layers": (
        "import torch\ndef make(): return torch.nn.Linear(2, 2)\n" + format_models.EXAMPLES,
        "make",
        "state dict lacks 2 weights: weight, bias",
    ),
    "other sizes": (
        format_models.FACTORY.replace("8", "9") + format_models.EXAMPLES,
        "make",
        "weights do not fit the factory's module: size mismatch",
    ),
    "wrong example": (
        format_models.FACTORY + "def example_inputs(): return {'a': 1, 'b': 2}",
        "make",
        "an example input is int",
    ),
    "does not run": (
        format_models.FACTORY + format_models.EXAMPLES.replace("1, 3, 32", "1, 2, 32"),
        "make",
        "does not run on its example inputs: RuntimeError",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_factory_is_told(tmp_path: Path, fault: str) -> None:
    code, function, says = FAULTS[fault]
    source = readers.Source(
        write_state(tmp_path, code), tmp_path, tmp_path / "factory.py", function
    )
    with pytest.raises(ModelRejected, match=says):
        readers.read(source, ModelFormat.TORCH_STATE)


def test_fault_comes_out_of_the_sandbox_in_one_line(tmp_path: Path) -> None:
    path = write_state(tmp_path, "def make(): raise ValueError('out\\nof\\nluck')")
    with pytest.raises(ModelRejected, match=r"ValueError: out of luck$"):
        inspection.inspect(path, factory=f"{tmp_path}/factory.py:make")


@pytest.mark.parametrize(
    ("factory", "says"),
    [("factory.py", "write file.py:function"), ("none.py:make", "no file none.py")],
)
def test_factory_that_names_nothing_is_refused_at_once(
    tmp_path: Path, factory: str, says: str
) -> None:
    path = format_models.write("onnx", tmp_path)
    with pytest.raises(InvalidRequest, match=says):
        inspection.inspect(path, factory=factory)


def test_frameworks_stay_out_of_the_caller(tmp_path: Path) -> None:
    """Reading happens in the sandbox alone: the caller's process is never at risk."""
    path = format_models.write("onnx", tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from distillfarm.compression.inspection import inspect\n"
        "inspect(Path(sys.argv[1]))\n"
        "print([name for name in ('torch', 'onnx', 'tensorflow') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"


@pytest.mark.parametrize("kind", ["keras", "saved_model.tar"])
def test_missing_framework_is_told_with_the_extra_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # Also by its full name: a test before may have imported TensorFlow, or coremltools for it.
    for name in ("h5py", "tensorflow", "tensorflow.core.protobuf.saved_model_pb2"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("keras", "saved_model"):
        monkeypatch.delitem(sys.modules, f"distillfarm.compression.readers.{name}", raising=False)
    source = readers.Source(format_models.write(kind, tmp_path), tmp_path)
    with pytest.raises(MissingExtra, match=r"pip install 'distillfarm\[tensorflow\]'"):
        readers.read(source, EXPECTED[kind])
