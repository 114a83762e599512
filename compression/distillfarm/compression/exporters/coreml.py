"""Writes Core ML packages (.mlpackage), each as one tar."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distillfarm.compression.exporters.base import FileExporter
from distillfarm.compression.exporters.routes import Route
from distillfarm.compression.inference import open_model
from distillfarm.compression.protocols import ExportRefused, WorkingModel, Workspace
from distillfarm.domain.errors import MissingExtra
from distillfarm.domain.hardware import Target
from distillfarm.domain.model import ModelFormat, TensorSpec

if TYPE_CHECKING:
    from distillfarm.compression.exporters.torch_sources import TorchSource

# What holds every operator and every INT8 or palettised weight that is written here; passes that
# need more raise it.
_DEPLOYMENT = "iOS16"


class CoreMlExporter(FileExporter):
    """PyTorch through ``torch.export``, and through a trace what that cannot follow.

    coremltools 9.0 knows no recurrent layer of ``torch.export``'s but all of a trace's. The
    batch is 1, compute precision FP32 and the minimum deployment target iOS 16 or macOS 13; the
    passes ``fp16`` and ``deployment`` change them. Core ML runs on Apple's systems alone: here
    only the file itself is checked, and the artifact is marked unverified.
    """

    format = ModelFormat.COREML
    sources = frozenset(
        {
            ModelFormat.COREML,
            ModelFormat.KERAS,
            ModelFormat.TORCH_EXPORT,
            ModelFormat.TORCH_MODULE,
        }
    )
    file_name = "model.mlpackage.tar"

    def verify(self, path: Path, reference: WorkingModel, workspace: Workspace) -> float:
        """Check the names and shapes that the file declares; its answers cannot be had here.

        Raises:
            ExportRefused: a name or a shape differs from the source's.
            MissingExtra: always, otherwise.
        """
        from distillfarm.compression import coreml_models

        wanted = open_model(reference, workspace.threads).signature
        given = coreml_models.signature(path)
        _compare(given.inputs, wanted.inputs)
        _compare(given.outputs, wanted.outputs)
        raise MissingExtra(
            "Core ML runs on Apple's systems alone: the file's names, shapes and operators were"
            " checked, its answers were not"
        )

    def routes(
        self, source: WorkingModel, path: Path, target: Target, workspace: Workspace
    ) -> Sequence[Route]:
        """``torch.export`` first, then a trace."""
        from distillfarm.compression import coreml_models
        from distillfarm.compression.exporters import torch_sources

        del target
        opened = torch_sources.opened(source, workspace)
        return [
            Route(
                "coremltools on torch.export",
                lambda: coreml_models.write(_exported(opened), path),
            ),
            Route("coremltools on a trace", lambda: coreml_models.write(_traced(opened), path)),
        ]

    def notes(self, path: Path, workspace: Workspace) -> Sequence[str]:
        """What the program consists of."""
        from distillfarm.compression import coreml_models

        del workspace
        found = coreml_models.census(path).most_common()
        listed = ", ".join(f"{count} {name}" for name, count in found if name != "const")
        return [
            f"Core ML program for {_DEPLOYMENT} and later, computing in FP32, of {listed};"
            f" {coreml_models.weight_bytes(path):,} B of weights"
        ]


def _exported(opened: "TorchSource") -> Any:
    return _converted(opened.exported().run_decompositions({}), opened)


def _traced(opened: "TorchSource") -> Any:
    import coremltools
    import torch

    from distillfarm.compression.exporters import torch_sources

    with torch_sources.tracing():
        trace = torch.jit.trace(  # type: ignore[no-untyped-call]
            opened.flat(), tuple(opened.examples().values())
        )
    inputs = [
        coremltools.TensorType(
            name=name,
            shape=tuple(each.shape),
            dtype=np.float32 if each.is_floating_point() else np.int32,
        )
        for name, each in opened.examples().items()
    ]
    return _converted(trace, opened, inputs=inputs)


def _converted(model: Any, opened: "TorchSource", **inputs: Any) -> Any:
    import coremltools

    from distillfarm.compression.passes import coreml_files

    converted = coremltools.convert(
        model,
        convert_to="mlprogram",
        outputs=[coremltools.TensorType(name=each.name) for each in opened.signature.outputs],
        minimum_deployment_target=coremltools.target[_DEPLOYMENT],
        compute_precision=coremltools.precision.FLOAT32,
        skip_model_load=True,
        **inputs,
    )
    return coreml_files.packed(converted)


def _compare(given: Sequence[TensorSpec], wanted: Sequence[TensorSpec]) -> None:
    shapes = {each.name: each.shape for each in given}
    names = sorted(each.name for each in wanted)
    if sorted(shapes) != names:
        raise ExportRefused(
            f"the Core ML file names {sorted(shapes)} what the source names {names}; rename it in"
            " letters, digits and underscores"
        )
    for each in wanted:
        # The free batch is 1 there; any other free size is whatever the model makes of that.
        found = shapes[each.name]
        fits = (size in (-1, other) for size, other in zip(each.shape, found, strict=False))
        if len(found) != len(each.shape) or not all(fits):
            raise ExportRefused(
                f"{each.name} of the Core ML file is {list(found)}, not {list(each.shape)}"
            )
