"""Masked autoencoder of TC-MoA, the frozen part, with attention inside windows. Names are those of its checkpoints."""

from contextlib import nullcontext
from typing import NamedTuple, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmfusion.models.layers.strips import differentiated_again
from mmfusion.utils.compat import exporting
from mmfusion.utils.errors import InputError

from .windows import Order


class Arch(NamedTuple):
    """Sizes of a masked autoencoder; ``grid`` is the side of the token grid that its position table is for."""

    embed_dim: int
    depth: int
    num_heads: int
    decoder_embed_dim: int = 512
    decoder_depth: int = 8
    decoder_num_heads: int = 16
    mlp_ratio: float = 4
    patch_size: int = 16
    grid: int = 14


ARCHS = dict(
    tiny=Arch(192, 6, 6, decoder_embed_dim=128, decoder_depth=4, decoder_num_heads=4, mlp_ratio=2),
    base=Arch(768, 12, 12),
    large=Arch(1024, 24, 16),
)


def resolve_arch(arch: Union[str, dict]) -> Arch:
    """Sizes by name, or from a dict of the fields of :class:`Arch`.

    Raises:
        ValueError: The name or a field is unknown, a field is missing, or the numbers do not fit each other.
    """
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise InputError(f'arch must be one of {", ".join(ARCHS)} or a dict, got {arch!r}')
        return ARCHS[arch]
    try:
        arch = Arch(**arch)
    except TypeError as error:
        raise InputError(f'arch takes the fields {", ".join(Arch._fields)}: {error}') from None
    for dim, heads in ((arch.embed_dim, arch.num_heads), (arch.decoder_embed_dim, arch.decoder_num_heads)):
        if dim % 8 or dim % heads:
            raise InputError(
                f'the length of a token must be a multiple of 8 and of the number of heads, got {dim} and {heads} heads'
            )
    return arch


class Attention(nn.Module):
    """Multi-head self-attention of the tokens in each window.

    Args:
        dim: Length C of a token.
        heads: Number of heads, divides ``dim``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Tokens (N, L, C) and an additive bias (1 or windows, heads, L, L) to (N, L, C)."""
        query, key, value = (
            self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # each (N, heads, L, C / heads)
        bias = bias.to(query.dtype)
        if len(bias) > 1:
            bias = bias.repeat(x.shape[0] // bias.shape[0], 1, 1, 1)
        # fused kernels have no second derivative
        with sdpa_kernel(SDPBackend.MATH) if differentiated_again() else nullcontext():
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.proj(out.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Linear, GELU, linear on every token.

    Args:
        dim: Length of a token.
        hidden: Length in between.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (..., C) to the same."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block with attention inside windows.

    Args:
        dim: Length C of a token.
        heads: Number of heads.
        mlp_ratio: Hidden length over C.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, bias: Tensor, order: Optional[Order] = None) -> Tensor:
        """One block.

        Args:
            x: (N, T, C) tokens, window by window.
            bias: (1 or windows, heads, L, L), added to the logits of attention.
            order: Puts the tokens into other windows for attention.
        """
        inside = self.norm1(x) if order is None else order.apply(self.norm1(x))
        windows = inside.view(-1, bias.shape[-1], x.shape[-1])  # (N * windows, L, C)
        inside = self.attn(windows, bias).view_as(x)
        x = x + (inside if order is None else order.undo(inside))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """Patches of an RGB image to tokens.

    Args:
        patch: Side of a patch.
        dim: Length of a token.
    """

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) to a token map (N, H / patch, W / patch, C)."""
        return self.proj(image).permute(0, 2, 3, 1)


class MaskedAutoencoder(nn.Module):
    """Layers of a masked autoencoder by the names of its checkpoints; how they are run, the fuser says.

    Without a checkpoint the weights are random, which does for tests alone: nothing trains them unless the fuser is
    told to.

    Args:
        arch: Sizes.
    """

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        dim, inner = arch.embed_dim, arch.decoder_embed_dim
        self.arch = arch
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))  # not used; part of every checkpoint
        self.pos_embed = nn.Parameter(sincos_positions(dim, arch.grid))
        self.patch_embed = PatchEmbed(arch.patch_size, dim)
        self.blocks = nn.ModuleList(Block(dim, arch.num_heads, arch.mlp_ratio) for _ in range(arch.depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.decoder_embed = nn.Linear(dim, inner)
        self.decoder_pos_embed = nn.Parameter(sincos_positions(inner, arch.grid))
        self.decoder_blocks = nn.ModuleList(
            Block(inner, arch.decoder_num_heads, arch.mlp_ratio) for _ in range(arch.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(inner, eps=1e-6)
        self.decoder_pred = nn.Linear(inner, arch.patch_size**2 * 3)
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                nn.init.xavier_uniform_(layer.weight.view(len(layer.weight), -1))
                nn.init.zeros_(layer.bias)

    def positions(self, table: Tensor, height: int, width: int, published: bool = False) -> Tensor:
        """A position table (1, 1 + grid * grid, C) at another size: (1, H, W, C).

        Args:
            table: ``pos_embed`` or ``decoder_pos_embed``; the first row, of the class token, is left out.
            height: Height H of the token map.
            width: Width W of the token map.
            published: Exchange height and width as the published program does, which is wrong unless they are equal.
        """
        grid = self.arch.grid
        table = table[:, 1:].unflatten(1, (grid, grid))
        if not exporting() and (height, width) == (grid, grid):
            return table
        size = (width, height) if published else (height, width)
        return resize_grid(table, size).reshape(1, height, width, -1)


def resize_grid(grid: Tensor, size: Tuple[int, int]) -> Tensor:
    """A grid of vectors (N, G, G, C) at another size (H, W), bilinearly: (N, H, W, C)."""
    return F.interpolate(grid.permute(0, 3, 1, 2), size, mode='bilinear', align_corners=False).permute(0, 2, 3, 1)


def sincos_positions(dim: int, grid: int) -> Tensor:
    r"""Fixed position table of a masked autoencoder, (1, 1 + grid * grid, dim): a row of zeros, then row by row.

    The first half of the channels holds :math:`\sin` and :math:`\cos` of the column times
    :math:`10000^{-4k/\text{dim}}`, the second half those of the row.

    Raises:
        ValueError: ``dim`` is no multiple of 4.
    """
    if dim % 4:
        raise ValueError(f'the length of a token must be a multiple of 4, got {dim}')
    omega = 10000 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    angle = torch.arange(grid, dtype=torch.float64)[:, None] * omega  # (grid, dim / 4)
    wave = torch.cat([angle.sin(), angle.cos()], dim=1)  # (grid, dim / 2)
    table = torch.cat([wave.repeat(grid, 1), wave.repeat_interleave(grid, 0)], dim=1)
    return F.pad(table, (0, 0, 1, 0)).float().unsqueeze(0)


def unpatchify(x: Tensor, side: Optional[int] = None) -> Tensor:
    """Token map of pixels (N, H, W, s * s * 3), rows, columns, color, to images (N, 3, s * H, s * W).

    Examples:
        >>> unpatchify(torch.arange(12.).view(1, 1, 1, 12))[0, 0].tolist()
        [[0.0, 3.0], [6.0, 9.0]]
    """
    n, height, width, length = x.shape
    side = side or int((length // 3) ** 0.5)
    return x.view(n, height, width, side, side, 3).permute(0, 5, 1, 3, 2, 4).reshape(n, 3, height * side, width * side)
