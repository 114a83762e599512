"""Writes Core AI models (.aimodel), each as one tar."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from distillfarm.compression.exporters.base import FileExporter
from distillfarm.compression.exporters.routes import Route
from distillfarm.compression.protocols import WorkingModel, Workspace
from distillfarm.domain.hardware import Target
from distillfarm.domain.model import ModelFormat

if TYPE_CHECKING:
    from distillfarm.compression.exporters.torch_sources import TorchSource


class CoreAiExporter(FileExporter):
    """PyTorch through ``torch.export`` and coreai-torch, for iOS 27 and newer.

    The batch is 1, numbers are FP32. Its answers are compared under coreai-core's own runtime,
    which runs on Linux, unlike Core ML's.
    """

    format = ModelFormat.COREAI
    sources = frozenset(
        {
            ModelFormat.COREAI,
            ModelFormat.KERAS,
            ModelFormat.TORCH_EXPORT,
            ModelFormat.TORCH_MODULE,
        }
    )
    file_name = "model.aimodel.tar"

    def routes(
        self, source: WorkingModel, path: Path, target: Target, workspace: Workspace
    ) -> Sequence[Route]:
        """One: coreai-torch takes nothing but what ``torch.export`` follows."""
        from distillfarm.compression.exporters import torch_sources

        del target
        opened = torch_sources.opened(source, workspace)
        return [Route("coreai-torch on torch.export", lambda: _write(opened, path))]

    def notes(self, path: Path, workspace: Workspace) -> Sequence[str]:
        """What the program consists of."""
        from distillfarm.compression import coreai_models

        del workspace
        found = coreai_models.census(path).most_common()
        listed = ", ".join(f"{count} {name}" for name, count in found if name != "constant")
        return [f"Core AI program for iOS 27 and later, computing in FP32, of {listed}"]


def _write(opened: "TorchSource", path: Path) -> None:
    from distillfarm.compression import coreai_models

    with _quiet():
        from coreai_torch import TorchConverter, get_decomp_table

        program = opened.exported().run_decompositions(get_decomp_table())
        # The other mode leaves the builder's files and lines in the model.
        converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
        converter.add_exported_program(
            program,
            input_names=[each.name for each in opened.signature.inputs],
            output_names=[each.name for each in opened.signature.outputs],
        )
        coreai_models.write(converter.to_coreai(), path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """coreai-torch prints its progress, and warns of every build of PyTorch with a suffix."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", message="coreai-torch has only been validated")
        yield
