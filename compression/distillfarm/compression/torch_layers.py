"""Layers that compression puts in the place of PyTorch's own."""

import math

import torch
from torch import Tensor, nn

Factorisable = nn.Linear | nn.Embedding | nn.Conv1d | nn.Conv2d


def factorised(layer: Factorisable, rank: int) -> nn.Sequential:
    """Two fresh layers of the inner width ``rank`` in the place of one; the last has its bias.

    A convolution keeps kernel and stride in the first, the second is one of 1x1 (Denton et al.,
    arXiv:1404.0736).
    """
    match layer:
        case nn.Linear():
            return nn.Sequential(
                nn.Linear(layer.in_features, rank, bias=False),
                nn.Linear(rank, layer.out_features, bias=layer.bias is not None),
            )
        case nn.Embedding():
            return nn.Sequential(
                nn.Embedding(layer.num_embeddings, rank, padding_idx=layer.padding_idx),
                nn.Linear(rank, layer.embedding_dim, bias=False),
            )
        case _:
            kind = type(layer)
            first = kind(
                layer.in_channels,
                rank,
                layer.kernel_size,  # type: ignore[arg-type]
                stride=layer.stride,  # type: ignore[arg-type]
                padding=layer.padding,  # type: ignore[arg-type]
                dilation=layer.dilation,  # type: ignore[arg-type]
                bias=False,
                padding_mode=layer.padding_mode,
            )
            return nn.Sequential(
                first, kind(rank, layer.out_channels, 1, bias=layer.bias is not None)
            )


class Attention(nn.Module):
    """What ``nn.MultiheadAttention`` does to batches, with a dense layer for each projection.

    PyTorch's own holds three projections in one matrix and as many heads as its width has room
    for; here heads can be fewer and each projection can be factorised.
    """

    def __init__(self, origin: nn.MultiheadAttention) -> None:
        super().__init__()
        width, bias = origin.embed_dim, origin.in_proj_bias is not None
        self.heads = origin.num_heads
        self.dropout = origin.dropout
        self.batch_first = origin.batch_first
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(origin.kdim or width, width, bias=bias)
        self.value = nn.Linear(origin.vdim or width, width, bias=bias)
        self.mix = nn.Linear(width, width, bias=origin.out_proj.bias is not None)
        # nn.TransformerEncoderLayer asks for these to decide against its fused kernel.
        self.in_proj_bias = None
        self._qkv_same_embed_dim = False

    def forward(  # noqa: PLR0917
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As ``nn.MultiheadAttention.forward``, which takes ``is_causal`` as a hint as well."""
        del is_causal
        given = (query, key, value)
        if not self.batch_first:
            given = (query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1))
        queries = self._split(self.query(given[0]))
        keys = self._split(self.key(given[1]))
        values = self._split(self.value(given[2]))
        scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
        if attn_mask is not None:
            # [length, length], or one for every sample and head.
            if attn_mask.dim() != 2:  # noqa: PLR2004
                attn_mask = attn_mask.reshape(-1, self.heads, *attn_mask.shape[1:])
            scores = scores + _additive(attn_mask, scores)
        if key_padding_mask is not None:
            scores = scores + _additive(key_padding_mask, scores)[:, None, None, :]
        weights = torch.softmax(scores, dim=-1)
        heard = nn.functional.dropout(weights, self.dropout, self.training) @ values
        answer = self.mix(heard.transpose(1, 2).flatten(2))
        answer = answer if self.batch_first else answer.transpose(0, 1)
        if not need_weights:
            return answer, None
        return answer, weights.mean(dim=1) if average_attn_weights else weights

    def _split(self, features: Tensor) -> Tensor:
        batch, length, width = features.shape
        return features.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)


def unpacked(origin: nn.MultiheadAttention) -> Attention:
    """``Attention`` with the weights of ``origin``.

    Raises:
        ValueError: it has what ``Attention`` has not.
    """
    if origin.bias_k is not None or origin.add_zero_attn:
        raise ValueError("attention with add_bias_kv or add_zero_attn")
    attention = Attention(origin)
    packed = origin.in_proj_weight
    weights = (
        packed.chunk(3)
        if packed is not None
        else (origin.q_proj_weight, origin.k_proj_weight, origin.v_proj_weight)
    )
    projections = (attention.query, attention.key, attention.value)
    with torch.no_grad():
        for layer, weight in zip(projections, weights, strict=True):
            layer.weight.copy_(weight)
        if origin.in_proj_bias is not None:
            for layer, bias in zip(projections, origin.in_proj_bias.chunk(3), strict=True):
                layer.bias.copy_(bias)
        attention.mix.load_state_dict(origin.out_proj.state_dict())
    return attention.train(origin.training)


def _additive(mask: Tensor, scores: Tensor) -> Tensor:
    """A mask to add: what is true in a mask of booleans is not looked at."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=scores.dtype).masked_fill(mask, -math.inf)
