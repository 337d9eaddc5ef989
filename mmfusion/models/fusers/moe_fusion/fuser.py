"""The MoE-Fusion network."""

from typing import Dict, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmengine.model import ModuleList
from torch import Tensor

from mmfusion.models.fusers.base import BaseFuser, FuserOutput
from mmfusion.models.layers import NoisyTopKGate, balance_loss, images_and_grid
from mmfusion.models.layers.open_sizes import average_on_grid
from mmfusion.models.layers.whole_picture import picture_grid, tile_part
from mmfusion.registry import MODELS
from mmfusion.utils.compat import exporting
from mmfusion.utils.errors import InputError

from .blocks import ConvExpert, DenseEncoder, run_chosen


@MODELS.register_module()
class MoEFusion(BaseFuser):
    r"""Dense encoders, local experts on attended and on remaining features, global experts as decoders.

    With the attention A of a guide, the encoded features e of both sources are split into a foreground e A and a
    background e (1 - A). Each part goes through a mixture of local experts: the first half of the experts sees the
    first source, the second half the second one, and one gate chooses ``top_k`` of them all per image. A mixture of
    global experts decodes everything into the fused image. Chosen experts are combined as
    :math:`y = \log \sum_e g_e \exp(E_e)`, which is how the published weights were trained (figures draw a plain sum).

    The gates read their features on a fixed grid, which the published network reaches at 480x640 pixels and nowhere
    else; resampling to that grid gives the same numbers there and makes every other size work.

    Guidance: ``attention``, (N, 1 or 2, h, w) in [0, 1], one map per source; their maximum is enlarged to the image
    with aligned corners. Without it A is 0.5 everywhere: foreground and background experts then see the same features.

    Args:
        base_channels: Width c of the encoders.
        expert_channels: Hidden width of the local experts.
        decoder_channels: Hidden widths of the global experts.
        num_experts: Experts in each of the three mixtures; even.
        top_k: Experts chosen for each image.
        local_grid: (h, w) of the local gates' input.
        global_grid: (h, w) of the global gate's input.
        gate_pooling: ``'sample'`` reads the features at the grid points (bilinear, aligned corners: published).
            ``'average'`` averages the cells of the grid, which lets a small grid such as (4, 5) see the whole image:
            the published gates hold 97 % of all parameters.
        combine: ``'logsumexp'`` (published) or ``'linear'``.
        topk_per_modality: Choose half of ``top_k`` among the local experts of each source, as the paper's figure shows;
            by default, as in the published code, both may come from one source.
        balance_weights: Weights of the load-balance loss of the foreground, background and global gate.
        noise_epsilon: See :class:`~mmfusion.models.layers.NoisyTopKGate`.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: Numbers that do not fit each other.

    Examples:
        >>> fuser = MoEFusion(base_channels=4, expert_channels=2, decoder_channels=(4,), local_grid=(4, 5), global_grid=(2, 2)).eval()
        >>> fuser(torch.rand(1, 1, 24, 30), torch.rand(1, 1, 24, 30)).fused.shape
        torch.Size([1, 1, 24, 30])
    """

    color_space = 'luminance'
    reach = None  # gates choose experts by features of the whole image
    guidance_keys = ('attention',)

    def __init__(
        self,
        base_channels: int = 16,
        expert_channels: int = 8,
        decoder_channels: Sequence[int] = (64, 32, 16),
        num_experts: int = 4,
        top_k: int = 2,
        local_grid: Tuple[int, int] = (120, 160),
        global_grid: Tuple[int, int] = (60, 80),
        gate_pooling: str = 'sample',
        combine: str = 'logsumexp',
        topk_per_modality: bool = False,
        balance_weights: Sequence[float] = (0.01, 0.01, 0.02),
        noise_epsilon: float = 1e-2,
        init_cfg: Optional[Union[dict, list]] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_experts % 2:
            raise ValueError(f'num_experts must be even, half for each source, got {num_experts}')
        if gate_pooling not in ('sample', 'average'):
            raise ValueError(f"gate_pooling must be 'sample' or 'average', got {gate_pooling!r}")
        if combine not in ('logsumexp', 'linear'):
            raise ValueError(f"combine must be 'logsumexp' or 'linear', got {combine!r}")
        if len(balance_weights) != 3:
            raise ValueError(f'balance_weights are three: foreground, background, global gate; got {balance_weights}')
        for name, grid in (('local_grid', local_grid), ('global_grid', global_grid)):
            if len(grid) != 2 or min(grid) < 1:
                raise ValueError(f'{name} must be (h, w) with positive entries, got {grid}')
        self.local_grid, self.global_grid = tuple(local_grid), tuple(global_grid)
        self.gate_pooling, self.combine = gate_pooling, combine
        self.balance_weights = tuple(balance_weights)

        self.reach_without_sums = 7 + len(decoder_channels)  # 3x3 convolutions one after the other
        c = base_channels
        self.encoder_first, self.encoder_second = DenseEncoder(c), DenseEncoder(c)
        groups = 2 if topk_per_modality else 1
        size = 2 * c * local_grid[0] * local_grid[1]
        self.foreground_gate = NoisyTopKGate(size, num_experts, top_k, noise_epsilon, groups)
        self.foreground_experts = ModuleList(ConvExpert((c, expert_channels, c)) for _ in range(num_experts))
        self.background_gate = NoisyTopKGate(size, num_experts, top_k, noise_epsilon, groups)
        self.background_experts = ModuleList(ConvExpert((c, expert_channels, c)) for _ in range(num_experts))
        self.global_gate = NoisyTopKGate(10 * c * global_grid[0] * global_grid[1], num_experts, top_k, noise_epsilon)
        self.global_experts = ModuleList(ConvExpert((10 * c, *decoder_channels, 1)) for _ in range(num_experts))

    def fuse(self, first: Tensor, second: Tensor, attention: Optional[Tensor] = None) -> FuserOutput:
        """Fuse two luminance batches; see :meth:`BaseFuser.forward` and the class for ``attention``.

        Raises:
            ValueError: ``attention`` has another batch size or more than two maps.
        """
        dense_first, e_first = self.encoder_first(first)  # (N, 2c, H, W) and (N, c, H, W), (N, c, H, W)
        dense_second, e_second = self.encoder_second(second)
        a = self._attention_map(attention, e_first)
        foreground, fg = self._local(self.foreground_gate, self.foreground_experts, e_first * a, e_second * a)
        a = 1 - a
        background, bg = self._local(self.background_gate, self.background_experts, e_first * a, e_second * a)
        dtype = e_first.dtype
        features = [*dense_first, e_first, *dense_second, e_second, foreground.to(dtype), background.to(dtype)]
        images, grid = self._images_and_grid(features, self.global_grid)  # (1, 10c, H, W) each
        whole = self.global_gate(grid.flatten(1))
        fused = run_chosen(self.global_experts, [images], whole, self.combine)
        losses = {}
        if self.training:
            losses['loss_balance'] = sum(
                weight * balance_loss(gate) for weight, gate in zip(self.balance_weights, (fg, bg, whole))
            )
        return FuserOutput(fused.contiguous(), losses)

    def guidance_maps(self, extra: Dict[str, object], height: int, width: int) -> Dict[str, object]:
        """Attention for every pixel."""
        if not isinstance(extra.get('attention'), Tensor):
            return extra
        attention = extra['attention']
        size = attention.new_empty(len(attention), 1, height, width)
        return {**extra, 'attention': self._attention_map(attention, size)}

    def _local(self, gate_layer: NoisyTopKGate, experts: ModuleList, first: Tensor, second: Tensor):
        """One mixture of local experts on the attended features (N, c, H, W) of both sources; returns its output and
        its gate's.
        """
        sources, grids = zip(*(self._images_and_grid([source], self.local_grid) for source in (first, second)))
        gate = gate_layer(torch.cat(grids, dim=1).flatten(1))
        return run_chosen(experts, sources, gate, self.combine), gate

    def _images_and_grid(self, parts: Sequence[Tensor], grid: Tuple[int, int]) -> Tuple[Sequence[Tensor], Tensor]:
        """Parts of the features side by side: the images of the batch one by one (all at once for a graph), and all on
        a grid.
        """
        if tile_part() is not None:
            x = torch.cat(list(parts), dim=1)
            return x.split(1), picture_grid(x, grid, self.gate_pooling == 'average')
        if self.gate_pooling == 'sample' and not exporting():
            return images_and_grid(parts, grid)
        x = torch.cat(list(parts), dim=1)
        if self.gate_pooling == 'sample':
            return (x,), F.interpolate(x, size=grid, mode='bilinear', align_corners=True)
        return (x,) if exporting() else x.split(1), (average_on_grid if exporting() else F.adaptive_avg_pool2d)(x, grid)

    @staticmethod
    def _attention_map(attention: Optional[Tensor], features: Tensor) -> Tensor:
        """Attention for every pixel, (N, 1, H, W), or one number for all."""
        if attention is None:
            return features.new_full((1, 1, 1, 1), 0.5)
        if attention.dim() != 4 or attention.shape[0] != features.shape[0] or attention.shape[1] not in (1, 2):
            raise InputError(
                f'attention must be (N, 1 or 2, h, w) with N = {features.shape[0]}, got {tuple(attention.shape)}'
            )
        attention = attention.amax(dim=1, keepdim=True).to(features.dtype)
        return F.interpolate(attention, size=features.shape[-2:], mode='bilinear', align_corners=True)
