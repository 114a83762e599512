"""The quantisers' grids as PyTorch trains under them: rounded forward, straight backward."""

import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver

_DENSE = (nn.Linear, nn.Embedding)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TINY = 1e-12
ONNX_RUNTIME = "onnxruntime"


def weights(module: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """Each weight that quantisers round, by its full name, as its layer and its name there.

    One that layers share is named once.
    """
    found: dict[str, tuple[nn.Module, str]] = {}
    seen: set[int] = set()
    for path, layer in module.named_modules():
        name = "in_proj_weight" if isinstance(layer, nn.MultiheadAttention) else "weight"
        kinds = (*_DENSE, *_CONVOLUTIONS, nn.MultiheadAttention)
        weight = getattr(layer, name, None) if isinstance(layer, kinds) else None
        if weight is not None and id(weight) not in seen:
            seen.add(id(weight))
            found[f"{path}.{name}".removeprefix(".")] = (layer, name)
    return found


def takes_activations(layer: nn.Module) -> bool:
    """Whether what goes into the layer is a product's other side, which static INT8 rounds."""
    return isinstance(layer, (nn.Linear, *_CONVOLUTIONS))


def in_blocks(layer: nn.Module, runtime: str, block: int) -> bool:
    """Whether the pass ``int4`` quantises the layer's weight in blocks of its rows.

    ONNX Runtime pads a row's last block; LiteRT takes such rows, and convolutions, by channel.
    """
    if isinstance(layer, _CONVOLUTIONS):
        return False
    if runtime == ONNX_RUNTIME:
        return True
    match layer:
        case nn.MultiheadAttention():
            width = layer.embed_dim
        case nn.Embedding():
            width = layer.embedding_dim
        case nn.Linear():
            width = layer.in_features
        case _:
            return False
    return bool(width % block == 0)


class ByChannel(nn.Module):
    """Symmetric, one scale for each output channel: the largest weight is the last step."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.last = 2 ** (bits - 1) - 1

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weight; its gradient goes straight through."""
        with torch.no_grad():
            rows = weight.flatten(1)
            scale = (rows.abs().amax(dim=1, keepdim=True) / self.last).clamp(min=_TINY)
            rounded = torch.round(rows / scale).clamp(-self.last, self.last) * scale
        return _straight_through(weight, rounded.reshape(weight.shape))


class ByBlock(nn.Module):
    """Symmetric INT4, one scale for each ``block`` weights of a row.

    LiteRT: the largest weight is step 7, and the scale is a bfloat16. ONNX Runtime
    (MatMulNBits): the largest weight, whatever its sign, is step -8.
    """

    def __init__(self, runtime: str, block: int) -> None:
        super().__init__()
        self.runtime, self.block = runtime, block

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weight; its gradient goes straight through."""
        with torch.no_grad():
            rows, width = weight.flatten(1), weight.shape[1]
            padded = nn.functional.pad(rows, (0, -width % self.block))
            blocks = padded.reshape(len(rows), -1, self.block)
            scale = self._scale(blocks)
            rounded = torch.round(blocks / scale).clamp(-8, 7) * scale
            rounded = rounded.reshape(len(rows), -1)[:, :width]
        return _straight_through(weight, rounded.reshape(weight.shape))

    def _scale(self, blocks: Tensor) -> Tensor:
        sizes = blocks.abs()
        if self.runtime == ONNX_RUNTIME:
            extreme = blocks.gather(2, sizes.argmax(dim=2, keepdim=True))
            return torch.where(extreme == 0, _TINY, extreme / -8)
        scale = sizes.amax(dim=2, keepdim=True) / 7
        return scale.to(torch.bfloat16).float().clamp(min=_TINY)


class Activations(nn.Module):
    """A hook that rounds what goes into a layer to UINT8, in the moving range of what came.

    It is a part of the layer while it is there, so that its range is kept with the weights.
    """

    NAME = "activation_rounding"

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self._fake = FakeQuantize(  # type: ignore[no-untyped-call]
            observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8
        )
        self._handle = layer.register_forward_pre_hook(self._round)
        self._layer = (layer,)  # in a tuple, since no module may be a part of its own part
        layer.add_module(self.NAME, self)

    def remove(self) -> None:
        """The layer is as it was."""
        self._handle.remove()
        delattr(self._layer[0], self.NAME)

    def _round(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The same inputs, the first of them rounded; the range moves in training alone."""
        if layer.training:
            self._fake.enable_observer()
        else:
            self._fake.disable_observer()
        return (self._fake(inputs[0]), *inputs[1:])


def _straight_through(weight: Tensor, rounded: Tensor) -> Tensor:
    return weight + (rounded - weight).detach()
