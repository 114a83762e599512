"""Weights to INT4 in blocks that share a scale, where a runtime has kernels for them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from distillfarm.compression.passes.settings import option, parse
from distillfarm.compression.protocols import PassRefused, Promise, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec

if TYPE_CHECKING:
    from distillfarm.compression.passes.quantisers import Quantiser


@dataclass(frozen=True)
class Int4Settings:
    """``block`` weights of a row share a scale.

    ``compute=int8`` lets ONNX Runtime round activations to INT8 in matrix products, which pays
    for long inputs on processors with dot-product instructions.
    """

    block: str = option("32", "16", "64", "128", "256")
    weights: str = option("symmetric", "asymmetric")
    compute: str = option("float", "int8")


class Int4:
    """Weight-only INT4.

    ONNX Runtime: matrix products and lookups. LiteRT: fully connected layers and lookups in
    blocks (by channel where a row is no whole number of blocks), convolutions by channel; it
    rounds activations to INT8 on the fly. Core ML: every weight, for iOS 18.
    """

    name = "int4"
    formats = frozenset({ModelFormat.COREML, ModelFormat.ONNX, ModelFormat.TFLITE})
    gives = None
    promise = Promise.SMALLER_FILE

    def check(self, spec: PassSpec) -> None:
        """Read the settings."""
        parse(spec, Int4Settings)

    def run(self, source: WorkingModel, spec: PassSpec, workspace: Workspace) -> WorkingModel:
        """Quantise the weights."""
        settings = parse(spec, Int4Settings)
        workspace.report(0.0, "quantising")
        path = workspace.folder / f"int4.{source.format.value}"
        if source.format is ModelFormat.COREML:
            if settings != Int4Settings(block=settings.block):
                raise PassRefused(f"{spec}: on Core ML files only block can be set")
            from distillfarm.compression.passes import coreml_files

            coreml_files.int4_weights(source.path, path, workspace, int(settings.block))
            return WorkingModel(path, source.format)
        from distillfarm.compression.passes import disturbance
        from distillfarm.compression.passes.quantisers import quantised

        quantiser = opened(source, settings, workspace)
        quantised(quantiser, path, workspace)
        disturbance.explain(quantiser, source, path, workspace)
        return WorkingModel(path, source.format)


def opened(source: WorkingModel, settings: Int4Settings, workspace: Workspace) -> "Quantiser":
    """The quantiser of the file's format."""
    if source.format is ModelFormat.ONNX:
        from distillfarm.compression.passes.onnx_quantisers import OnnxBlockwise

        return OnnxBlockwise(source.path, settings, workspace.folder)
    from distillfarm.compression.passes import tflite_quantisers

    return tflite_quantisers.int4(source.path, settings)
