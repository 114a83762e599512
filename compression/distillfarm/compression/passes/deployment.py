"""Writes a Core ML file for a later system, with the operators that it brought."""

from dataclasses import dataclass

from distillfarm.compression.passes.settings import number, parse
from distillfarm.compression.protocols import Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec


@dataclass(frozen=True)
class DeploymentSettings:
    """``ios`` is the first version that the file runs on: 16, 17 and 18 go with macOS 13 to 15."""

    ios: int = number(17, 16, 18)


class Deployment:
    """The minimum deployment target of a Core ML file, which is iOS 16 unless a pass raises it."""

    name = "deployment"
    formats = frozenset({ModelFormat.COREML})
    gives = None
    promise = Promise.SAME_SIZE

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, DeploymentSettings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Lower the program anew."""
        settings = parse(spec, DeploymentSettings)
        from distillfarm.compression.passes import coreml_files

        path = workspace.folder / "deployment.mlpackage.tar"
        coreml_files.deployed(source.path, path, workspace, settings.ios)
        return WorkingModel(path, source.format)
