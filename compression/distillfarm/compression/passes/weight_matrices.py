"""The weights of a PyTorch module that sparsify and cluster change: its layers' matrices."""

from torch import nn
from torch.nn.modules.conv import _ConvNd

from distillfarm.compression.protocols import PassRefused

_LAYERS = (_ConvNd, nn.Embedding, nn.Linear, nn.MultiheadAttention, nn.RNNBase)


def matrices(module: nn.Module) -> dict[str, nn.Parameter]:
    """The matrices of convolutions, dense, lookup, attention and recurrent layers, by their names.

    One that layers share is there once. Vectors (biases, norms) and parameters of the user's own
    layers (position tables, say) are few and mind most, so nobody shrinks them.

    Raises:
        PassRefused: the module has none.
    """
    owned = {
        id(parameter)
        for layer in module.modules()
        if isinstance(layer, _LAYERS)
        for parameter in layer.parameters(recurse=False)
    }
    found = {
        name: each
        for name, each in module.named_parameters()
        if each.ndim > 1 and id(each) in owned
    }
    if not found:
        raise PassRefused(
            "the module has no weights in convolutional, dense, lookup, attention or recurrent"
            " layers"
        )
    return found
