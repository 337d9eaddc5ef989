"""The TC-MoA network."""

from typing import Dict, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.models.fusers.base import BaseFuser, FuserOutput
from mmfusion.models.fusers.tiling import TileLike, Tiling, check_tile
from mmfusion.models.layers.open_sizes import round_up
from mmfusion.models.layers.tiles import reflect_to
from mmfusion.registry import MODELS
from mmfusion.utils.errors import InputError
from mmfusion.utils.renamed import renamed, warn_renamed

from .adapters import COMBINE, Control
from .details import Details, Prompts, prompt_loss
from .mae_weights import load_mae, warn_of_random_weights
from .stack import AdaptedStack, adapter_places
from .vit import MaskedAutoencoder, resolve_arch, unpatchify
from .windows import WindowLayout

TASKS = ('visible_infrared', 'multi_exposure', 'multi_focus')
OUTPUTS = ('nearest', 'area', 'bilinear')


@MODELS.register_module()
class TCMoA(BaseFuser):
    r"""A frozen masked autoencoder through which both sources run side by side, and adapters that make one image of
    them.

    The sources are RGB in [0, 1]: visible before infrared, over- before under-exposed, far before near focus. After
    some blocks an adapter exchanges what both streams know; which of its experts do so, a router decides for every
    token, and each fusion task has a router of its own. Only adapters, routers and biases of attention learn. In
    training ``losses`` holds ``loss_prompt``, which asks the prompts of both sources to sum to 1, and ``loss_balance``,
    the load balance of the routers divided by the number of the epoch.

    Three things of the published program were mistakes and are put right by default: source shifts were never trained
    nor saved, positions were wrong for images that are not square, and tiles of large images had seams.

    **Control.** ``scale`` and ``shift`` move the prompts in eval mode, to
    :math:`\bar p_s + \text{scale}\,(p_s - \bar p_s) \pm \text{shift}`, clamped to [0, 1], with the mean
    :math:`\bar p_s` over an image (or a tile), plus for the first source and minus for the second. A positive shift
    lets the first source dominate, a larger scale sharpens the choice between places. The idea is the paper's, the
    formula ours: the paper's is known to us at second hand.

    Args:
        arch: ``'tiny'`` (for tests), ``'base'``, ``'large'``, or the fields of an :class:`Arch` as a dict.
        fusion_tasks: Names of the fusion tasks, in the order of their routers.
        fusion_task: Fusion task of a batch that does not say it; the first of ``fusion_tasks`` by default.
        upsample: Double the sources before and halve the result after the network, as published.
        window: Side of the windows of attention in tokens.
        interval: An adapter follows every ``interval``-th block.
        offset: How many blocks earlier the first one comes.
        num_experts: Experts in every adapter.
        top_k: Experts that a token gets.
        combine: ``'logsumexp'``, as in the published program, or ``'linear'``, as in the paper; see :class:`Mixture`.
        position: ``'corrected'``, or ``'published'``: height and width of the position table exchanged.
        output: How the double-size result is halved: ``'nearest'`` (published), ``'area'``, or ``'bilinear'`` (with
            antialiasing).
        mask_shifted: Keep tokens of opposite borders apart in rolled windows. The published weights are trained
            without.
        large_images: What happens to images larger than ``tile`` in eval mode: ``'pad'`` runs them whole, ``'tile'`` in
            overlapping, blended tiles, for bounded memory. All sizes are extended to a multiple by reflection and
            cropped back.
        tile: Side of the tiles, a multiple of :attr:`multiple`.
        overlap: Pixels that neighboring tiles share at least; 0 for tiles side by side, as published.
        tile_batch: Tiles that run at once.
        prompt_weights: Weight of ``loss_prompt`` by fusion task after the warm-up, 1 where none is given.
        balance_weight: Weight of ``loss_balance`` in epoch 0.
        warmup_epochs: Epochs in which ``loss_prompt`` has weight 1 for every fusion task.
        scale: Default of the control of that name.
        shift: Default of the control of that name.
        clip: Clip the result to [0, 1], as published. Off by default: clipped pixels have no gradient.
        freeze: Freeze the masked autoencoder. False trains all of it, from random weights too.
        with_cp: Compute blocks again in the backward pass instead of keeping their features.
        mae: Path of a MAE checkpoint that :meth:`init_weights` loads into the frozen part.
        init_cfg: mmengine initialization config.

    Attributes:
        multiple: The network runs on multiples of this many pixels; 112 as published.

    Raises:
        ValueError: An option is unknown, or numbers do not fit each other.

    Examples:
        >>> fuser = TCMoA('tiny').eval()
        >>> fuser(torch.rand(1, 3, 40, 30), torch.rand(1, 3, 40, 30), fusion_task='multi_focus').fused.shape
        torch.Size([1, 3, 40, 30])
    """

    color_space = 'rgb'
    channels = (3,)
    option_keys = ('fusion_task', 'scale', 'shift')
    reach = reach_without_sums = None  # windows of attention, every other rolled, and positions in the whole image

    @renamed('TCMoA', tasks='fusion_tasks', task='fusion_task')
    def __init__(
        self,
        arch: Union[str, dict] = 'base',
        fusion_tasks: Sequence[str] = TASKS,
        fusion_task: Optional[str] = None,
        upsample: bool = True,
        window: int = 14,
        interval: int = 4,
        offset: int = 2,
        num_experts: int = 4,
        top_k: int = 2,
        combine: str = 'logsumexp',
        position: str = 'corrected',
        output: str = 'nearest',
        mask_shifted: bool = False,
        large_images: str = 'pad',
        tile: int = 448,
        overlap: int = 112,
        tile_batch: int = 4,
        prompt_weights: Optional[Dict[str, float]] = None,
        balance_weight: float = 1e-3,
        warmup_epochs: int = 2,
        scale: float = 1.0,
        shift: float = 0.0,
        clip: bool = False,
        freeze: bool = True,
        with_cp: bool = False,
        mae: Optional[str] = None,
        init_cfg: Optional[Union[dict, list]] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        for name, value, known in (
            ('combine', combine, COMBINE),
            ('position', position, ('corrected', 'published')),
            ('output', output, OUTPUTS),
            ('large_images', large_images, ('pad', 'tile')),
        ):
            if value not in known:
                raise ValueError(f'{name} must be one of {", ".join(known)}, got {value!r}')
        self.arch = resolve_arch(arch)
        self.fusion_tasks = tuple(fusion_tasks)
        if isinstance(fusion_tasks, str) or len(set(self.fusion_tasks)) < len(self.fusion_tasks):
            raise ValueError(f'fusion_tasks must be a list of different names, got {fusion_tasks!r}')
        self.fusion_task = self.fusion_tasks[0] if fusion_task is None and self.fusion_tasks else fusion_task
        unknown = ({self.fusion_task} | set(prompt_weights or {})) - set(self.fusion_tasks)
        if unknown:
            raise ValueError(f'{sorted(map(str, unknown))} is not among the fusion tasks {list(self.fusion_tasks)}')
        if window < 2 or self.arch.patch_size % 2:
            raise ValueError(f'window must be at least 2 and patch_size even, got {window} and {self.arch.patch_size}')
        self.multiple = window * self.arch.patch_size // (2 if upsample else 1)
        if tile < 1 or tile % self.multiple or not 0 <= overlap <= tile // 2 or tile_batch < 1:
            raise ValueError(
                f'tile must be a multiple of {self.multiple}, overlap at most half of it and tile_batch positive, '
                f'got {tile}, {overlap} and {tile_batch}'
            )
        self.window, self.upsample, self.published_positions, self.output = (
            window,
            upsample,
            position == 'published',
            output,
        )
        self.large_images, self.tile, self.overlap, self.tile_batch = large_images, tile, overlap, tile_batch
        if large_images == 'tile':
            self.tiling = Tiling((tile, tile), overlap, tile_batch)
        self.prompt_weights = {name: float((prompt_weights or {}).get(name, 1.0)) for name in self.fusion_tasks}
        self.balance_weight, self.warmup_epochs, self.epoch = balance_weight, warmup_epochs, 0
        self.scale, self.shift, self.clip = scale, shift, clip
        self.freeze, self.mae_checkpoint = freeze, mae

        self.mae = MaskedAutoencoder(self.arch).requires_grad_(not freeze).train(not freeze)
        if interval < 1:
            raise ValueError(f'interval must be at least 1, got {interval}')
        places = [adapter_places(depth, interval, offset) for depth in (self.arch.depth, self.arch.decoder_depth)]
        if not all(places):
            raise ValueError(
                f'interval {interval} and offset {offset} leave the encoder ({self.arch.depth} blocks) or the decoder '
                f'({self.arch.decoder_depth} blocks) without an adapter'
            )
        options = dict(
            window=window,
            mask_shifted=mask_shifted,
            with_cp=with_cp,
            tasks=len(self.fusion_tasks),
            num_experts=num_experts,
            top_k=top_k,
            combine=combine,
        )
        self.encoder = AdaptedStack(
            self.arch.embed_dim, self.arch.depth, self.arch.num_heads, places=places[0], **options
        )
        self.decoder = AdaptedStack(
            self.arch.decoder_embed_dim,
            self.arch.decoder_depth,
            self.arch.decoder_num_heads,
            places=places[1],
            restore_statistics=True,
            **options,
        )
        self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def init_weights(self) -> None:
        """Initialize; with ``mae`` the frozen part gets the weights of that file."""
        repeated = self.is_init
        super().init_weights()
        if repeated:  # mmengine has said so; weights that learned since stay
            return
        if self.mae_checkpoint:
            load_mae(self.mae, self.mae_checkpoint)
        elif self.freeze:
            warn_of_random_weights()

    def train(self, mode: bool = True) -> 'TCMoA':
        """Switch to training or evaluation; the frozen part stays in evaluation."""
        super().train(mode)
        if self.freeze:
            self.mae.eval()
        return self

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch, counted from 0, on which the weights of the losses depend."""
        self.epoch = epoch

    @renamed('TCMoA', task='fusion_task')
    def fuse(
        self,
        first: Tensor,
        second: Tensor,
        fusion_task: Optional[str] = None,
        scale: Optional[float] = None,
        shift: Optional[float] = None,
    ) -> FuserOutput:
        """Fuse two RGB batches (N, 3, H, W) of one fusion task; see :meth:`BaseFuser.forward` and the class for the
        options.
        """
        details = self.fuse_in_detail(first, second, fusion_task, scale, shift)
        return FuserOutput(details.fused, self._losses(details, self._chosen(fusion_task)) if self.training else {})

    @renamed('TCMoA', task='fusion_task')
    def fuse_in_detail(
        self,
        first: Tensor,
        second: Tensor,
        fusion_task: Optional[str] = None,
        scale: Optional[float] = None,
        shift: Optional[float] = None,
        raw: bool = False,
    ) -> Details:
        """As :meth:`fuse` on the whole image, with prompts and, if ``raw``, the decoded image and the token streams.

        Raises:
            ValueError: The fusion task is unknown, or ``scale`` or ``shift`` is no finite number.
        """
        index = self.fusion_tasks.index(self._chosen(fusion_task))
        chosen = (self.scale if scale is None else scale, self.shift if shift is None else shift)
        control = Control() if self.training else Control.of(*chosen)
        size = first.shape[-2:]
        padded = [round_up(side, self.multiple) for side in size]
        x = self._embed(torch.cat([reflect_to(image, *padded) for image in (first, second)]))
        layout = WindowLayout(*x.shape[1:3], self.window, x.device)
        encoder = self.encoder(layout.to_windows(x), self.mae.blocks, layout, index, control)
        latents = self.mae.norm(encoder.streams)
        positions = self.mae.positions(self.mae.decoder_pos_embed, *layout.size, self.published_positions)
        x = self.mae.decoder_embed(latents) + layout.to_windows(positions)
        decoder = self.decoder(x, self.mae.decoder_blocks, layout, index, control, first_only=True)
        x = layout.to_map(self.mae.decoder_norm(decoder.streams))
        image, fused = self._decode(x, raw)
        fused = fused[..., : size[0], : size[1]] * self.std + self.mean
        fused = fused.clamp(0, 1) if self.clip else fused
        balance = encoder.balance + decoder.balance if self.training else None
        streams = layout.to_map(latents).unflatten(0, (2, -1)) if raw else None
        return Details(image, fused, streams, Prompts(encoder.prompts, decoder.prompts), balance)

    @property
    def tasks(self) -> Tuple[str, ...]:
        """Former name of ``fusion_tasks``."""
        warn_renamed('TCMoA', 'tasks', 'fusion_tasks')
        return self.fusion_tasks

    @property
    def task(self) -> str:
        """Former name of ``fusion_task``."""
        warn_renamed('TCMoA', 'task', 'fusion_task')
        return self.fusion_task

    def _chosen(self, fusion_task: Optional[str]) -> str:
        fusion_task = self.fusion_task if fusion_task is None else fusion_task
        if fusion_task not in self.fusion_tasks:
            raise InputError(f'TCMoA has the fusion tasks {list(self.fusion_tasks)}, got {fusion_task!r}')
        return fusion_task

    def _embed(self, images: Tensor) -> Tensor:
        """Images (2N, 3, H, W) in [0, 1] to token maps (2N, H', W', C)."""
        images = (images - self.mean) / self.std
        if self.upsample:
            images = F.interpolate(images, scale_factor=2, mode='bilinear', align_corners=False)
        x = self.mae.patch_embed(images)
        return x + self.mae.positions(self.mae.pos_embed, *x.shape[1:3], self.published_positions)

    def _decode(self, x: Tensor, raw: bool) -> 'tuple[Optional[Tensor], Tensor]':
        """Token maps (N, H', W', C) to the decoded image, where wanted, and the image at the size of the sources, both
        of normalized color.
        """
        predict = self.mae.decoder_pred
        if self.upsample and self.output == 'nearest' and not raw:  # of four pixels only the first is ever seen
            side = self.arch.patch_size
            seen = torch.arange(side * side * 3, device=x.device).view(side, side, 3)[::2, ::2].flatten()
            return None, unpatchify(F.linear(x, predict.weight[seen], predict.bias[seen]))
        image = unpatchify(predict(x))
        if not self.upsample:
            return image, image
        if self.output == 'nearest':
            return image, image[..., ::2, ::2]
        if self.output == 'area':
            return image, F.avg_pool2d(image, 2)
        return image, F.interpolate(image, scale_factor=0.5, mode='bilinear', align_corners=False, antialias=True)

    def _losses(self, details: Details, fusion_task: str) -> Dict[str, Tensor]:
        weight = 1.0 if self.epoch < self.warmup_epochs else self.prompt_weights[fusion_task]
        return dict(
            loss_prompt=weight * prompt_loss(details.prompts),
            loss_balance=self.balance_weight / (self.epoch + 1) * details.balance,
        )

    def set_tile(self, tile: TileLike) -> None:
        """See :meth:`BaseFuser.set_tile`; sides become multiples of :attr:`multiple`, and neighbors share ``overlap``
        pixels as far as that leaves
        half of a tile."""
        tile = check_tile(tile)
        if tile is None:
            self.tiling = None
        elif isinstance(tile, str):
            self.tiling = Tiling(tile, self.overlap)
        else:
            tile = tuple(max(1, side // self.multiple) * self.multiple for side in tile)
            self.tiling = Tiling(tile, min(self.overlap, min(tile) // 2))
