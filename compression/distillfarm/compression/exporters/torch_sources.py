"""PyTorch models of every form, as the converters of all runtimes want them."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.jit._trace import TracerWarning

from distillfarm.compression import torch_exports, torch_models
from distillfarm.compression.protocols import ExportRefused, WorkingModel, Workspace
from distillfarm.domain.model import ModelFormat, Signature


@dataclass(frozen=True)
class TorchSource:
    """A module that takes its inputs in the signature's order.

    ``program`` is the exported program that it came from, if it did.
    """

    module: nn.Module
    signature: Signature
    program: ExportedProgram | None = None

    @property
    def free_batch(self) -> bool:
        """Whether every input takes any number of samples."""
        return all(each.shape[0] < 0 for each in self.signature.inputs)

    def flat(self) -> nn.Module:
        """Inputs by position, outputs as a tuple in the signature's order."""
        return _inference(torch_models.Flat(self.module, self.signature))

    def named(self) -> nn.Module:
        """Inputs by name, outputs as a dict: converters take the names from there."""
        return _inference(_Named(self.module, self.signature))

    def examples(self, batch: int = 1) -> dict[str, Tensor]:
        """Zeros for every input, by name."""
        names = [each.name for each in self.signature.inputs]
        return dict(zip(names, torch_models.example_inputs(self.signature, batch), strict=True))

    def exported(self) -> ExportedProgram:
        """The model as a program of batch 1 whose inputs and outputs bear the signature's names."""
        with torch.no_grad():
            return torch.export.export(self.named(), (), self.examples())


@contextmanager
def tracing() -> Iterator[None]:
    """Trace in here: a branch of the user's own code that depends on the data is an error.

    A trace keeps the side that the example inputs took and loses the other without a word.
    PyTorch's own layers branch on shapes alone, and warn as well.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("error", category=TracerWarning, module=torch_models.FACTORY_MODULE)
        yield


def opened(source: WorkingModel, workspace: Workspace) -> TorchSource:
    """Load a TORCH_MODULE, a TORCH_EXPORT, or a Keras model on its torch backend.

    Raises:
        ExportRefused: any other format.
        ModelRejected: the file does not load.
    """
    torch.set_num_threads(workspace.threads)
    match source.format:
        case ModelFormat.TORCH_MODULE:
            model = torch_models.read(source.path)
            return TorchSource(model.module, model.spec.signature)
        case ModelFormat.TORCH_EXPORT:
            program = torch_exports.read(source.path)
            return TorchSource(program.module(), torch_exports.signature(program), program)
        case ModelFormat.KERAS:
            return _keras(source, workspace)
        case _:
            raise ExportRefused(f"a {source.format.value} model is no PyTorch model")


def _keras(source: WorkingModel, workspace: Workspace) -> TorchSource:
    from distillfarm.compression import keras_models
    from distillfarm.compression.predictors.keras import signature

    keras_models.choose_backend("torch")
    model = keras_models.load(source.path, workspace.folder)
    return TorchSource(_KerasInference(model), signature(model))


def _inference(module: nn.Module) -> nn.Module:
    # A program that torch.export made refuses eval(): it is in that mode already, as is every
    # module that was read.
    module.training = False
    return module


class _Named(nn.Module):
    def __init__(self, module: nn.Module, signature: Signature) -> None:
        super().__init__()
        self.flat = torch_models.Flat(module, signature)
        self.signature = signature

    def forward(self, **inputs: Tensor) -> Mapping[str, Tensor]:
        answers = self.flat(*(inputs[each.name] for each in self.signature.inputs))
        names = [each.name for each in self.signature.outputs]
        return dict(zip(names, answers, strict=True))


class _KerasInference(nn.Module):
    """A Keras model that takes its inputs by position and never trains."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> object:
        given = list(inputs) if len(inputs) > 1 else inputs[0]
        return self.model(given, training=False)
