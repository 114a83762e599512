"""Reads SavedModels: the tar of the folder, with no operator that touches files or runs Python."""

from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from distillfarm.compression.protocols import WorkingModel
from distillfarm.compression.readers import Source, archives
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import ModelFormat

# Saving and restoring variables is part of every SavedModel; these are part of none that is needed.
_FORBIDDEN = frozenset(
    [
        "EagerPyFunc",
        "FixedLengthRecordReaderV2",
        "LoadLibrary",
        "MatchingFiles",
        "PyFunc",
        "PyFuncStateless",
        "ReadFile",
        "TextLineReaderV2",
        "TFRecordReaderV2",
        "WholeFileReaderV2",
        "WriteAudioSummary",
        "WriteFile",
        "WriteSummary",
    ]
)


def read(source: Source) -> WorkingModel:
    """The tar itself."""
    with TemporaryDirectory(dir=source.folder) as folder:
        archives.unpack_tar(source.path, Path(folder))
        found = min(Path(folder).rglob("saved_model.pb"), key=lambda each: len(each.parts))
        model = SavedModel()
        try:
            model.ParseFromString(found.read_bytes())
        except DecodeError as error:
            raise ModelRejected(f"saved_model.pb is damaged: {error}") from error
    for graph in model.meta_graphs:
        nodes = [*graph.graph_def.node]
        for function in graph.graph_def.library.function:
            nodes += function.node_def
        for node in nodes:
            if node.op in _FORBIDDEN:
                raise ModelRejected(f"the SavedModel uses {node.op}, which reaches out of it")
    return WorkingModel(source.path, ModelFormat.SAVED_MODEL)
