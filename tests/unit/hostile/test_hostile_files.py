"""Model files that want too much, reach too far or are named to deceive; and what is no file."""

import json
import os
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import format_models
import h5py
import numpy as np
import onnx
import pytest
import torch
from hostile_tasks import Look
from onnx import TensorProto, helper

from distillfarm.compression import sources
from distillfarm.compression.ingest import IngestRequest, take_in
from distillfarm.compression.inspection import inspect
from distillfarm.domain.errors import InvalidRequest, ModelRejected
from distillfarm.sandbox import Limits, errors, tasks

# Each file is read in a process of its own, which loads a framework.
pytestmark = pytest.mark.slow

MIB = 1024**2


def with_external(folder: Path, location: str) -> Path:
    """An ONNX model whose first weight claims to lie at ``location``."""
    model = format_models.onnx_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    folder.mkdir(exist_ok=True)
    onnx.save_model(model, folder / "model.onnx")
    return folder


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../secret", "sub/../../secret", "link", "none", "", "."]
)
def test_external_data_outside_the_folder(look: Look, workplace: Path, location: str) -> None:
    secret = workplace / "files" / "secret"
    secret.write_bytes(b"s" * 8 * 27 * 4)
    folder = with_external(workplace / "files" / "model", location)
    assert "give the folder that holds both" in str(look(folder / "model.onnx"))
    if location == "link":
        (folder / "link").symlink_to(secret)
        assert "is a link or a device" in str(look(folder))
    else:
        assert "which is no file of the model's folder" in str(look(folder))


def test_external_data_in_a_subgraph_is_found(look: Look, workplace: Path) -> None:
    hidden = helper.make_tensor("w", TensorProto.FLOAT, [4], bytes(16), raw=True)
    hidden.ClearField("raw_data")
    hidden.data_location = TensorProto.EXTERNAL
    entry = hidden.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    body = helper.make_graph(
        [helper.make_node("Constant", [], ["b"], value=hidden)],
        "body",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [4])],
    )
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body),
    ]
    path = workplace / "files" / "model.onnx"
    path.write_bytes(format_models.model_of(nodes, {"x": []}, {"y": [4]}).SerializeToString())
    assert "outside the file, in '/etc/passwd'" in str(look(path))


def test_tar_that_leads_out(look: Look, workplace: Path) -> None:
    for name, kind in (("../escaped", tarfile.REGTYPE), ("x.onnx", tarfile.SYMTYPE)):
        path = workplace / "files" / "evil.tar"
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
            archive.addfile(tarfile.TarInfo("model.onnx"))
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
        assert type(look(path)) is ModelRejected


BOMBS = {
    "keras": ["config.json", "metadata.json", "model.weights.h5"],
    "pt": ["archive/data.pkl", "archive/version", "archive/data/0"],
    "pt2": ["m/archive_format", "m/models/model.json", "m/data/weights/weight_0"],
    "module.zip": ["module.json", "weights.safetensors", "factory.py"],
}


@pytest.mark.parametrize("kind", BOMBS)
def test_zip_bomb(look: Look, workplace: Path, kind: str) -> None:
    path = workplace / "files" / f"bomb.{kind}"
    block = b"\0" * (16 * MIB)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in BOMBS[kind][:-1]:
            archive.writestr(name, "{}")
        with archive.open(BOMBS[kind][-1], "w", force_zip64=True) as member:
            for _ in range(16):
                member.write(block)
    assert path.stat().st_size < 300_000
    factory = format_models.factory_for(format_models.write("pt", workplace / "files"))
    assert "looks like a zip bomb" in str(look(path, factory))


def test_zip_that_lies_about_its_size(look: Look, workplace: Path) -> None:
    """The table of contents says 100 bytes; what is inside goes on for ever."""
    path = workplace / "files" / "liar.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", "")
        archive.writestr("config.json", b"\0" * (64 * MIB))
    content = path.read_bytes().replace(struct.pack("<I", 64 * MIB), struct.pack("<I", 100))
    path.write_bytes(content)
    assert "config.json in the zip archive is damaged" in str(look(path))


def terabyte_onnx(path: Path) -> None:
    model = format_models.onnx_model()
    model.graph.initializer[0].dims[:] = [10**6, 10**6]
    path.write_bytes(model.SerializeToString())


def overflowing_onnx(path: Path) -> None:
    model = format_models.onnx_model()
    model.graph.initializer[0].dims[:] = [2**62, 2**62, 4]
    path.write_bytes(model.SerializeToString())


def negative_onnx(path: Path) -> None:
    model = format_models.onnx_model()
    model.graph.initializer[0].dims[:] = [-1, -8, 27]
    path.write_bytes(model.SerializeToString())


def terabyte_state(path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(1).expand(10**6, 10**6)}, path)


def terabyte_safetensors(path: Path) -> None:
    entry = {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}
    header = json.dumps({"conv.weight": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 64)


def terabyte_keras(path: Path) -> None:
    shutil.copyfile(format_models.GOLDEN / "tiny.h5", path)
    with h5py.File(path, "a") as file:
        file.create_dataset("evil", shape=(10**6, 10**6), chunks=(100, 100), dtype="f4")


def elsewhere_keras(path: Path) -> None:
    shutil.copyfile(format_models.GOLDEN / "tiny.h5", path)
    with h5py.File(path, "a") as file:
        file["evil"] = h5py.ExternalLink("/etc/passwd", "/")


GREEDY = {
    "onnx": (terabyte_onnx, "declares 1,000,000,000,000 values but holds"),
    "overflow.onnx": (overflowing_onnx, "values but holds"),
    "negative.onnx": (negative_onnx, "has a negative size"),
    "pt": (terabyte_state, "declares 1,000,000,000,000 values but does not hold them"),
    "safetensors": (terabyte_safetensors, "the state dict is damaged"),
    "h5": (terabyte_keras, "declares 4,000,000,000,000 bytes but holds 0"),
    "link.h5": (elsewhere_keras, "'evil' of the Keras file lies in another file"),
}


@pytest.mark.parametrize("kind", GREEDY)
def test_tensor_that_is_not_there(look: Look, workplace: Path, kind: str) -> None:
    make, says = GREEDY[kind]
    factory = format_models.factory_for(format_models.write("pt", workplace / "files"))
    path = workplace / "files" / f"greedy.{kind}"
    make(path)
    error = look(path, factory)
    assert type(error) is ModelRejected
    assert says in str(error)


def test_value_of_terabytes_made_at_load_time(look: Look, workplace: Path) -> None:
    """Four bytes that a runtime would expand; the limit on memory stands behind every reader."""
    shape = helper.make_tensor("s", TensorProto.INT64, [1], [2**36])
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    path = workplace / "files" / "model.onnx"
    path.write_bytes(format_models.model_of(nodes, {"x": ["n"]}, {"y": ["n"]}).SerializeToString())
    error = look(path, limits=Limits(memory_bytes=1024 * MIB, wall_s=60, disk_bytes=64 * MIB))
    assert type(error) in (type(None), ModelRejected)


def test_deeply_nested_graph(look: Look, workplace: Path) -> None:
    graph = format_models.onnx_model().graph
    for _ in range(200):
        outer = onnx.GraphProto(name="g")
        outer.node.add(op_type="If", name="n").attribute.add(
            name="then_branch", type=onnx.AttributeProto.GRAPH
        ).g.CopyFrom(graph)
        graph = outer
    path = workplace / "files" / "deep.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert type(look(path)) is ModelRejected


NAMES = {
    "newline": "a\nFAKE LINE",
    "escape": "\x1b[2J\x1b[31mred",
    "path": "../../etc/passwd",
    "bidi": "abc\u202edcba",
    "nul": "a\0b",
    "long": "x" * 10_000_000,
    "empty": "",
}


@pytest.mark.parametrize("name", NAMES)
def test_hostile_name_of_an_input(look: Look, workplace: Path, name: str) -> None:
    path = workplace / "files" / "model.onnx"
    nodes = [helper.make_node("Relu", [NAMES[name]], ["y"])]
    model = format_models.model_of(nodes, {NAMES[name]: ["n", 3]}, {"y": ["n", 3]})
    path.write_bytes(model.SerializeToString())
    assert type(look(path)) is ModelRejected


@pytest.mark.parametrize("name", [each for each in NAMES if each != "empty"])
def test_hostile_name_of_an_operator(look: Look, workplace: Path, name: str) -> None:
    path = workplace / "files" / "model.onnx"
    nodes = [helper.make_node(NAMES[name], ["x"], ["y"], NAMES[name], domain=NAMES[name][:99])]
    model = format_models.model_of(nodes, {"x": ["n", 3]}, {"y": ["n", 3]})
    path.write_bytes(model.SerializeToString())
    assert type(look(path)) is ModelRejected


def test_hostile_name_of_a_layer_is_shown_harmlessly(workplace: Path) -> None:
    model = format_models.onnx_model()
    model.graph.node[0].name = "\x1b[2J\n" + "x" * 1_000_000
    path = workplace / "files" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    for line in inspect(path).bottlenecks:
        assert line.isprintable()
        assert len(line) <= 400


def test_hostile_name_of_the_file(look: Look, workplace: Path) -> None:
    path = workplace / "files" / "a\n\x1b[2J.onnx"
    path.write_bytes(b"")
    assert "a [2J.onnx is empty" in str(look(path))


def endless(folder: Path) -> Path:
    """An ONNX model whose Loop never ends."""
    value = helper.make_tensor_value_info
    truth = helper.make_tensor("t", TensorProto.BOOL, [], [True])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Identity", ["v"], ["w"]),
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("v", TensorProto.FLOAT, ["n"]),
        ],
        [value("go_on", TensorProto.BOOL, []), value("w", TensorProto.FLOAT, ["n"])],
    )
    nodes = [
        helper.make_node("Constant", [], ["truth"], value=truth),
        helper.make_node("Loop", ["", "truth", "x"], ["y"], body=body),
    ]
    path = folder / "endless.onnx"
    path.write_bytes(format_models.model_of(nodes, {"x": ["n"]}, {"y": ["n"]}).SerializeToString())
    return path


def test_endless_loop_is_inspected_and_ended_when_run(look: Look, workplace: Path) -> None:
    path = endless(workplace / "files")
    assert look(path) is None
    with pytest.raises(errors.TaskOutOfTime, match="not finished after 3 s"):
        tasks.run(
            "hostile_tasks:run_on_ones",
            str(path),
            float,
            limits=Limits(memory_bytes=1024 * MIB, wall_s=3, disk_bytes=MIB),
            folder=workplace / "scratch",
        )


def test_reading_that_takes_too_long_is_a_rejection(workplace: Path) -> None:
    path = format_models.write("onnx", workplace / "files")
    request = IngestRequest(str(path), str(workplace / "scratch" / "work"))
    with pytest.raises(ModelRejected, match=r"ended badly: not finished after 0\.05 s"):
        take_in(request, limits=Limits(wall_s=0.05))


def fifo(path: Path) -> None:
    os.mkfifo(path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(sources.MAX_BYTES + 1)


def zeros(path: Path) -> None:
    path.write_bytes(b"\0" * 10_000)


def text(path: Path) -> None:
    path.write_text("this is no model\n" * 1000)


def empty_folder(path: Path) -> None:
    path.mkdir()


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


STRANGE: dict[Callable[[Path], None], str] = {
    fifo: "is neither a file nor a folder",
    empty: "is empty",
    huge: "at most 8 GB are read",
    zeros: "is not recognised as ONNX, TFLite",
    text: "is not recognised as ONNX, TFLite",
    empty_folder: "is a folder with neither saved_model.pb nor .onnx in it",
    link_to_device: "is neither a file nor a folder",
}


@pytest.mark.parametrize("make", STRANGE, ids=lambda make: make.__name__)
def test_what_is_no_model(look: Look, workplace: Path, make: Callable[[Path], None]) -> None:
    path = workplace / "files" / "strange"
    make(path)
    error = look(path)
    assert type(error) is ModelRejected
    assert STRANGE[make] in str(error)


def test_device_without_end(look: Look) -> None:
    assert "is neither a file nor a folder" in str(look(Path("/dev/zero")))


def test_no_file_at_all(look: Look, workplace: Path) -> None:
    error = look(workplace / "none.onnx")
    assert type(error) is InvalidRequest
    assert "cannot be read: No such file or directory" in str(error)


def test_other_formats_are_named(look: Look, workplace: Path) -> None:
    path = workplace / "files" / "model.pte"
    path.write_bytes(b"\0\0\0\0ET12" + b"\0" * 100)
    assert "executorch models are outputs" in str(look(path))


def test_arrays_of_objects_in_the_data_are_not_unpickled(workplace: Path, bomb: object) -> None:
    path = format_models.write("pt", workplace / "files")
    factory = workplace / "files" / "factory.py"
    factory.write_text(format_models.FACTORY)
    data = workplace / "files" / "data.npz"
    np.savez(data, image=np.array([bomb], dtype=object))
    request = IngestRequest(
        str(path), str(workplace / "scratch" / "work"), str(factory), "make", str(data)
    )
    with pytest.raises(ModelRejected, match=r"no readable \.npz"):
        take_in(request, limits=Limits())
    assert not (workplace / "executed").exists()
