"""What every exporter does the same way, whatever the format."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from distillfarm.compression.exporters.comparison import max_abs_error
from distillfarm.compression.exporters.routes import Route, first_that_works
from distillfarm.compression.protocols import ExportRefused, WorkingModel, Workspace
from distillfarm.domain.hardware import Target
from distillfarm.domain.model import ModelFormat


class FileExporter(ABC):
    """Copies its own format, and writes the others by the first route whose answers are right.

    A subclass says which formats it takes and by which routes, the best first.
    """

    format: ModelFormat
    sources: frozenset[ModelFormat]
    file_name: str

    def export(self, source: WorkingModel, target: Target, workspace: Workspace) -> Path:
        """Write the file; inputs and outputs keep the source's names.

        Raises:
            ExportRefused: a format that it does not take, or no route works; the text names the
                operator or the line of control flow that stopped each route.
        """
        path = workspace.folder / self.file_name
        if source.format is self.format:
            shutil.copyfile(source.path, path)
            return path
        if source.format not in self.sources:
            raise ExportRefused(
                f"a {source.format.value} model cannot be written as {self.format.value} for"
                f" {target}; distil it first, which gives a PyTorch student that can"
            )
        routes = self.routes(source, path, target, workspace)
        first_that_works(routes, lambda: self.verify(path, source, workspace), workspace)
        workspace.notes.extend(self.notes(path, workspace))
        return path

    def verify(self, path: Path, reference: WorkingModel, workspace: Workspace) -> float:
        """Compare with ``reference`` under the runtime, matching inputs and outputs by name."""
        return max_abs_error(WorkingModel(path, self.format), reference, workspace)

    @abstractmethod
    def routes(
        self, source: WorkingModel, path: Path, target: Target, workspace: Workspace
    ) -> Sequence[Route]:
        """The ways to write ``source`` to ``path``, the best first."""

    @abstractmethod
    def notes(self, path: Path, workspace: Workspace) -> Sequence[str]:
        """What is to be known of the file that was written, in sentences."""
