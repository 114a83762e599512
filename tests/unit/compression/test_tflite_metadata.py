"""The metadata of exported .tflite files, read as TensorFlow Lite's own schema lays them out."""

from importlib.metadata import version
from pathlib import Path

import pytest
import tiny_models
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import table

from distillfarm.compression import registry
from distillfarm.compression.exporters.tflite_metadata import describe
from distillfarm.compression.protocols import WorkingModel
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.recipe import pass_spec


@pytest.fixture(scope="module")
def exported(
    vector_problem: tiny_models.Problem, tmp_path_factory: pytest.TempPathFactory
) -> WorkingModel:
    target = parse_target("litert")
    workspace = vector_problem.workspace(tmp_path_factory.mktemp("tflite") / "w")
    path = registry.exporter(target.runtime).export(vector_problem.model, target, workspace)
    return WorkingModel(path, ModelFormat.TFLITE)


def metadata(path: Path) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    (entry,) = (each for each in model.metadata if each.name == b"TFLITE_METADATA")
    return bytes(model.buffers[entry.buffer].data)


def field(holder: table.Table, slot: int) -> int:
    """Where the value of a table's slot stands."""
    offset = holder.Offset(4 + 2 * slot)
    assert offset
    return int(offset) + int(holder.Pos)


def text(holder: table.Table, slot: int) -> str:
    return bytes(holder.String(field(holder, slot))).decode()


def children(holder: table.Table, slot: int) -> list[table.Table]:
    start = holder.Vector(field(holder, slot) - holder.Pos)
    count = holder.VectorLen(field(holder, slot) - holder.Pos)
    return [table.Table(holder.Bytes, holder.Indirect(start + 4 * i)) for i in range(count)]


def test_maker_version_and_names_are_in_the_file(exported: WorkingModel) -> None:
    content = metadata(exported.path)
    assert content[4:8] == b"M001"
    root = table.Table(content, int.from_bytes(content[:4], "little"))
    assert text(root, 0) == "distillfarm model"
    assert text(root, 1) == "x -> scores"
    assert text(root, 2) == version("distillfarm")
    assert text(root, 4) == "distillfarm"
    (subgraph,) = children(root, 3)
    assert [text(each, 0) for each in children(subgraph, 2)] == ["x"]
    assert [text(each, 0) for each in children(subgraph, 3)] == ["scores"]


def test_quantising_keeps_the_metadata(
    exported: WorkingModel, vector_problem: tiny_models.Problem, tmp_path: Path
) -> None:
    workspace = vector_problem.workspace(tmp_path / "w")
    made = registry.compression_pass("int8_dynamic").run(
        exported, pass_spec("int8_dynamic"), workspace
    )
    assert metadata(made.path) == metadata(exported.path)


def test_describing_again_replaces_what_was_there(exported: WorkingModel, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(exported.path.read_bytes())
    describe(copy)
    assert metadata(copy) == metadata(exported.path)
