"""Early fusion: task networks that take color and infrared as one image of four channels, without a fuser."""

from typing import Dict, List, Optional, Sequence

import torch
from torch import Tensor, nn

from mmfusion.models.layers.color import luminance
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample
from mmfusion.utils.errors import InputError

from .base import BaseCoupling, Fusion
from .steps.losses import Losses
from .task_network import TaskNetwork

COLORS = 3


def first_convolution(backbone: nn.Module) -> nn.Conv2d:
    """The convolution that a backbone runs first, found by running it on a small picture.

    Raises:
        ValueError: It does not begin with a convolution over three channels, or a multiple of three where pixels were
            moved into channels first.
    """
    ran: List[nn.Conv2d] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs: ran.append(module))
        for module in backbone.modules()
        if isinstance(module, nn.Conv2d)
    ]
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    try:
        with torch.no_grad():
            parameter = next(backbone.parameters())
            backbone(torch.zeros(1, COLORS, 64, 64, device=parameter.device, dtype=parameter.dtype))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    if not ran or ran[0].in_channels % COLORS or ran[0].groups != 1:
        raise InputError(
            f'early fusion widens the first convolution of a backbone, and {type(backbone).__name__} does not begin'
            f' with one over {COLORS} channels'
        )
    return ran[0]


def inflate(weight: Tensor) -> Tensor:
    """Weight of a convolution over color and infrared, from one over color.

    Infrared gets the mean of the three colors, and all are scaled by 3/4, so that a picture which is the same in all
    four channels has the response that it had before; compare J. Carreira and A. Zisserman, "Quo vadis,
    action recognition?", CVPR 2017.

    Args:
        weight: (O, 3 k, h, w); k > 1 where pixels were moved into channels, color by color.

    Returns:
        Tensor: (O, 4 k, h, w).

    Examples:
        >>> inflate(torch.tensor([1., 2., 3.]).view(1, 3, 1, 1)).flatten().tolist()
        [0.75, 1.5, 2.25, 1.5]
    """
    colors = weight.unflatten(1, (-1, COLORS))
    return torch.cat([colors, colors.mean(2, keepdim=True)], dim=2).flatten(1, 2) * (COLORS / (COLORS + 1))


def _inflate_loaded(module: nn.Conv2d, state_dict: Dict[str, Tensor], prefix: str, *_) -> None:
    """Take weights of the network as it was published, too."""
    key = f'{prefix}weight'
    loaded = state_dict.get(key)
    if loaded is not None and loaded.dim() == 4 and loaded.shape[1] * (COLORS + 1) == module.weight.shape[1] * COLORS:
        state_dict[key] = inflate(loaded)


class EarlyFusionNetwork(TaskNetwork):
    """A detector or segmentor whose first convolution takes four channels.

    Each of color and infrared passes the network's own data preprocessor as a picture, infrared with three equal
    channels, whose mean it then is. Pretrained weights of three channels are taken and inflated, see :func:`inflate`.

    Args:
        network: Config of an mmdet detector or mmseg segmentor, with a scoped type.
        kwargs: As :class:`TaskNetwork`.

    Raises:
        ValueError: Its backbone does not begin with a convolution.
    """

    def __init__(self, network: dict, *args, **kwargs) -> None:
        super().__init__(network, *args, **kwargs)
        stem = first_convolution(self.network.backbone)
        self._stem = [stem]  # in a list, so that it is not registered a second time
        stem.in_channels = stem.in_channels // COLORS * (COLORS + 1)
        stem.weight.data = inflate(stem.weight.data)
        stem.register_load_state_dict_pre_hook(_inflate_loaded)

    def init_weights(self) -> None:
        """Initialize the network as published, then inflate its first convolution."""
        stem = self._stem[0]
        wide = stem.weight.data
        narrow = wide.unflatten(1, (-1, COLORS + 1))[:, :, :COLORS].flatten(1, 2).contiguous()
        # The parameter stays the same object, since mmengine keeps a list of them meanwhile.
        stem.weight.data = narrow.clone()
        super().init_weights()
        untouched = torch.equal(stem.weight.data, narrow)  # it was initialized before
        stem.weight.data = wide if untouched else inflate(stem.weight.data)

    def preprocess(self, image: Tensor, data_samples: Sequence[FusionDataSample], training: bool):
        """Turn (N, 4, H, W), RGB and infrared in nominal [0, 1], into the network's input; otherwise as
        :meth:`TaskNetwork.preprocess`."""
        pictures = torch.cat([image[:, :COLORS], image[:, COLORS:].expand(-1, COLORS, -1, -1)])
        inputs, samples = super().preprocess(pictures, [*data_samples, *data_samples], training)
        color, infrared = inputs.chunk(2)
        return torch.cat([color, infrared.mean(1, keepdim=True)], dim=1), samples[: len(data_samples)]


@MODELS.register_module()
class EarlyFusionCoupling(BaseCoupling):
    """No fuser: each task network takes both sources as one image of four channels.

    The control for every fuser: what the task itself makes of the two sources when nobody asks for a picture. So there
    is none: samples come back without ``fused``, and mode ``tensor`` returns the four channels. The color source is the
    first one that has color.

    Args:
        tasks: Configs of task networks by name.
        task_weights: Factor of each task's losses.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: No task is given, or a backbone does not begin with a convolution.
    """

    task_network = EarlyFusionNetwork

    def __init__(
        self,
        tasks: Dict[str, dict],
        task_weights: Optional[Dict[str, float]] = None,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        if not tasks:
            raise ValueError('EarlyFusionCoupling needs at least one task network in `tasks`')
        super().__init__(
            dict(type='SourceFuser'),
            tasks=tasks,
            task_weights=task_weights,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )

    def fuse(
        self,
        inputs: Dict[str, Tensor],
        guidance: Optional[dict] = None,
        state: Optional[dict] = None,
        data_samples: Optional[Sequence[FusionDataSample]] = None,
    ) -> Fusion:
        """Stack the sources: ``image`` is (N, 4, H, W), RGB and the luminance of the other source."""
        color, other = inputs['first'], inputs['second']
        if color.shape[1] == 1 and other.shape[1] == COLORS:
            color, other = other, color
        image = torch.cat([color.expand(-1, COLORS, -1, -1), luminance(other)], dim=1)
        return Fusion(image, image, inputs['first'], inputs['second'], {})

    def loss(self, inputs: Dict[str, Tensor], data_samples: Sequence[FusionDataSample]) -> Losses:
        """Losses of the tasks; arguments as in :meth:`BaseCoupling.forward`."""
        return self.task_losses(self.fuse(inputs).image, data_samples)

    def predict(
        self, inputs: Dict[str, Tensor], data_samples: Sequence[FusionDataSample]
    ) -> Sequence[FusionDataSample]:
        """Run every task; arguments as in :meth:`BaseCoupling.forward`."""
        self.predict_tasks(self.fuse(inputs).image, data_samples)
        return data_samples
