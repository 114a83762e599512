"""Models, their signatures, and the immutable files that hold them."""

from dataclasses import dataclass
from enum import Enum


class ModelFormat(Enum):
    """The file formats that are read or written.

    ``TORCH_MODULE`` is our own safe form of a PyTorch module between passes: a zip of how to build
    it (``module.json``), its weights (``weights.safetensors``) and, if any, the user's factory.
    ``BUNDLE`` is what a study delivers: a tar of a folder, see ``controller.bundle``.
    """

    ONNX = "onnx"
    TFLITE = "tflite"
    TORCH_EXPORT = "torch_export"
    TORCH_STATE = "torch_state"
    TORCH_MODULE = "torch_module"
    KERAS = "keras"
    SAVED_MODEL = "saved_model"
    COREML = "coreml"
    EXECUTORCH = "executorch"
    BUNDLE = "bundle"
    COREAI = "coreai"


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    ``shape`` has -1 where a dimension is free; ``dtype`` is NumPy's name.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """What goes in and what comes out; matched by name, never by order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class ArtifactRef:
    """An immutable file in the blob store.

    ``digest`` names its bytes; ``name`` is a file name for people, without folders. A format that
    is a folder (SavedModel, .mlpackage, .aimodel) is stored as an uncompressed tar of that folder.
    """

    digest: str
    size_bytes: int
    format: ModelFormat
    name: str


@dataclass(frozen=True)
class SourceModel:
    """A model as its owner handed it in.

    ``factory_digest`` names the blob of the Python file whose ``factory_function`` builds the
    ``torch.nn.Module`` of a state dict; both are empty for every other format. ``student_digest``
    and ``student_function`` likewise name the user's own student for distillation, if any.
    """

    artifact: ArtifactRef
    factory_digest: str = ""
    factory_function: str = ""
    student_digest: str = ""
    student_function: str = ""


@dataclass(frozen=True)
class Dataset:
    """Arrays for training, selection and testing, as one ``.npz`` blob.

    Arrays named like the model's inputs hold samples along their first axis; ``label`` holds the
    targets: int64 class indices, or floats for regression. Optional arrays: ``group`` (any
    strings or integers, for drops by group), ``held_out`` (booleans: samples that the source model
    was not trained on; selection and test are drawn from them alone), and ``unlabelled/INPUT``
    (more samples to distil on, one array for each input). Without ``label`` the source model's own
    answers are the targets. ``evaluator_digest`` names the blob of
    a user's Python file whose ``evaluator_function(outputs, targets) -> float`` replaces accuracy
    (larger is better); both are empty otherwise. ``seed`` decides the split.
    """

    digest: str
    evaluator_digest: str = ""
    evaluator_function: str = ""
    seed: int = 0


@dataclass(frozen=True)
class OperatorCount:
    """How often an operator occurs, and the multiply-accumulates that it costs for one sample."""

    operator: str
    count: int
    macs: int = 0


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs for one sample.

    ``weight_bytes`` are those that it reads (of a table the rows that it looks up),
    ``activation_bytes`` its other inputs and outputs. ``time_us`` is its time in the runtime's own
    profile, the mean of the middle half of several runs; None where it was not seen there.
    """

    name: str
    operator: str
    macs: int
    parameters: int
    weight_bytes: int
    activation_bytes: int
    time_us: float | None = None


@dataclass(frozen=True)
class Sensitivity:
    """How much one technique, applied to one layer alone, disturbs the outputs.

    ``divergence`` is the mean Kullback-Leibler divergence of the outputs in nats for
    classes, else the relative root mean square error; ``drop_points`` the quality lost.
    """

    layer: str
    technique: str
    divergence: float
    drop_points: float


@dataclass(frozen=True)
class Analysis:
    """What is known of a model before it is touched.

    ``macs`` counts multiply-accumulates for one sample; ``bottlenecks`` are sentences that name
    the layers or operators that dominate and what follows from it, the worst first.
    ``traffic_bytes`` is what one sample's inference reads and writes, weights and activations.
    ``layers`` are the costly ones, the worst first; ``profile`` says which runtime timed them on
    which computer, or why none did. ``sensitivity`` is empty where no data were given.
    """

    format: ModelFormat
    signature: Signature
    size_bytes: int
    parameters: int
    macs: int
    operators: tuple[OperatorCount, ...]
    dtypes: tuple[str, ...]
    bottlenecks: tuple[str, ...]
    traffic_bytes: int = 0
    layers: tuple[LayerCost, ...] = ()
    profile: str = ""
    sensitivity: tuple[Sensitivity, ...] = ()
