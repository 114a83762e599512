"""Which student fits a signature, in numbers; no framework is loaded."""

from dataclasses import dataclass
from enum import Enum

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.model import Signature

_IMAGE_RANK = 3
_SEQUENCE_RANK = 2
_MAX_IMAGE_CHANNELS = 16
_CHANNEL_MULTIPLE = 8
OUTPUT_RANK = 2


class Family(Enum):
    """The architectures of the zoo.

    CNN: 3x3 convolutions for images, one for each size of the map, with stride 2. ENCODER: a
    transformer encoder of two layers for token ids. GRU: two layers for sequences of vectors. MLP:
    two hidden layers for plain vectors.
    """

    CNN = "cnn"
    ENCODER = "encoder"
    GRU = "gru"
    MLP = "mlp"


@dataclass(frozen=True)
class ZooConfig:
    """Everything that decides a student's architecture.

    ``input_shape`` is one sample's. ``width`` multiplies every hidden layer, rounded to multiples
    of 8: 9, 19 or 38 channels ran slower than 16, 32 or 64. ``channels_last`` is the layout of
    images; ``vocabulary`` the number of token ids. Inputs are taken as ``(x - shift) * scale``.
    With ``probabilities`` the output is a softmax, else logits (or values, for regression).
    ``layers`` is the depth: convolutions for each size of the map, encoder or recurrent layers,
    hidden layers; 0 stands for the family's own number.
    """

    family: Family
    input_shape: tuple[int, ...]
    outputs: int
    width: float = 1.0
    channels_last: bool = False
    vocabulary: int = 0
    shift: float = 0.0
    scale: float = 1.0
    probabilities: bool = False
    layers: int = 0

    @property
    def depth(self) -> int:
        """``layers``, or what the family has."""
        return self.layers or (1 if self.family is Family.CNN else 2)

    def channels(self, base: int) -> int:
        """``base`` channels scaled by the width, a multiple of 8 and at least 8."""
        scaled = int(base * self.width / _CHANNEL_MULTIPLE + 0.5) * _CHANNEL_MULTIPLE
        return max(_CHANNEL_MULTIPLE, scaled)


def student(signature: Signature, width: float) -> ZooConfig:
    """The student for a teacher with this signature.

    Raises:
        InvalidRequest: no family takes such inputs or gives such outputs; the text says which.
    """
    if len(signature.inputs) != 1 or len(signature.outputs) != 1:
        raise InvalidRequest(
            f"the zoo's students have one input and one output, this model has"
            f" {len(signature.inputs)} and {len(signature.outputs)}; use prune or quantise it"
        )
    given, answer = signature.inputs[0], signature.outputs[0]
    if len(answer.shape) != OUTPUT_RANK or answer.shape[1] < 1:
        raise InvalidRequest(
            f"the zoo's students give one vector a sample, output {answer.name} has the shape"
            f" {list(answer.shape)}; use prune or quantise it"
        )
    shape = given.shape[1:]
    if not shape or any(size < 1 for size in shape):
        raise InvalidRequest(
            f"input {given.name} has the shape {list(given.shape)}; a student needs every"
            " dimension after the batch to be fixed"
        )
    outputs = answer.shape[1]
    if given.dtype.startswith("int") and len(shape) == 1:
        return ZooConfig(Family.ENCODER, shape, outputs, width)
    if not given.dtype.startswith("float"):
        raise InvalidRequest(
            f"input {given.name} is {given.dtype} {list(given.shape)}; the zoo has students for"
            " float inputs and for integer token ids [batch, length]"
        )
    if len(shape) == _IMAGE_RANK:
        last = shape[0] > _MAX_IMAGE_CHANNELS or shape[2] < shape[0]
        return ZooConfig(Family.CNN, shape, outputs, width, channels_last=last)
    if len(shape) == _SEQUENCE_RANK:
        return ZooConfig(Family.GRU, shape, outputs, width)
    if len(shape) == 1:
        return ZooConfig(Family.MLP, shape, outputs, width)
    raise InvalidRequest(
        f"input {given.name} has {len(shape)} dimensions after the batch; the zoo has students for"
        " images, sequences and vectors"
    )
