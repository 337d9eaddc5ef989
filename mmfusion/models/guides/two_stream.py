"""A detector for each source whose attention guides the fuser."""

from typing import Dict, List, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmfusion.models.layers.color import luminance
from mmfusion.models.pretrained import pretrained_last
from mmfusion.models.scoped import build_scoped
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample
from mmfusion.utils.errors import InputError, InputTypeError

from .attention import CrossModalAttention

Losses = Dict[str, Union[Tensor, List[Tensor]]]
Size = Tuple[int, int]


def _identity(x):
    return x


@MODELS.register_module()
class TwoStreamGuide(BaseModule):
    """Two detectors without shared weights, an exchange between their features, and attention maps that guide a fuser.

    The detectors learn from the boxes, on features that the attention gates; the fuser gets the finest level's
    attention. Any mmdet detector with a backbone and a neck will do: its head takes the gated features through the
    detector's own ``loss`` and ``predict``. Either source enters as gray in three channels, normalized and padded by
    the detector's own data preprocessor (its batch augmentations are left out: they would tear the sources apart).

    Source: MoE-Fusion (ICCV 2023), there with Faster R-CNN, ResNet-50 and FPN.

    Args:
        detector: Config of an mmdet detector, ``dict(type='mmdet.FasterRCNN', ...)``; built twice.
        in_channels: Channels of the neck's output.
        attention_channels: Hidden width of the attention.
        num_levels: Levels of the neck's output, used when ``levels_shared_bn`` is False.
        levels_shared_bn: See :class:`CrossModalAttention`.
        detach: Cut the gradient from the fuser to the detectors, as published.
        init_cfg: mmengine initialization config.

    Raises:
        TypeError: ``detector`` is no config with a ``type``, or its ``type`` has no backbone.
    """

    def __init__(
        self,
        detector: dict,
        in_channels: int = 256,
        attention_channels: int = 128,
        num_levels: int = 5,
        levels_shared_bn: bool = True,
        detach: bool = True,
        init_cfg: Optional[Union[dict, list]] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.first = self._build(detector)
        self.second = self._build(detector)
        self.attention = CrossModalAttention(in_channels, attention_channels, num_levels, levels_shared_bn)
        self.detach = detach

    @staticmethod
    def _build(cfg: dict) -> nn.Module:
        detector = build_scoped(cfg)
        if not hasattr(detector, 'extract_feat') or not hasattr(detector, 'backbone'):
            raise InputTypeError(
                f'the guide needs a detector with a backbone and a neck, got {type(detector).__name__}'
            )
        # The head's losses are reached through `loss` and `predict`, which call `extract_feat` on what they are given:
        # features already.
        # Stored on the instance, so that the class's own `extract_feat` stays in reach.
        detector.extract_feat = _identity
        return detector

    def init_weights(self) -> None:
        """Initialize both detectors and the attention; weights that the detector's ``init_cfg`` names are loaded last,
        whole, and checked.
        """
        with pretrained_last(self.first, self.second):
            super().init_weights()

    def forward(self, first: Tensor, second: Tensor) -> Dict[str, Tensor]:
        """Guidance alone: stops after the attention of the finest level; no head runs.

        Args:
            first: (N, 1 or 3, H, W) in [0, 1], gray or RGB.
            second: Same of the second source.

        Returns:
            dict: ``attention`` (N, 2, h, w) in [0, 1], the first source's map, then the second's.
        """
        features = [self._features(stream, image)[:1] for stream, image in ((self.first, first), (self.second, second))]
        return self._guidance(self.attention(*features)[2][0], first)

    def loss(
        self, first: Tensor, second: Tensor, data_samples: Sequence[FusionDataSample]
    ) -> Tuple[Dict[str, Tensor], Losses]:
        """Guidance, and the losses of both detectors.

        Args:
            first: (N, 1 or 3, H, W) in [0, 1].
            second: Same of the second source.
            data_samples: N samples with ``gt_instances`` in pixels of the images; they are left as they are. What lies
                beyond the ``img_shape`` of a sample is padding, which the detectors replace by their own.

        Returns:
            tuple: Guidance as in :meth:`forward`, at the size of the images where any is padded, and losses as
            ``first.loss_cls``, ``second.loss_cls``.

        Raises:
            ValueError: A sample has no ``gt_instances``.
        """
        for sample in data_samples:
            if 'gt_instances' not in sample:
                raise InputError(
                    f'the guide learns from boxes, but sample {sample.get("sample_id", "?")!r} has no gt_instances: '
                    f'load annotations '
                    'in the training pipeline, or set guide_weight=0'
                )
        sizes = self._sizes(first, data_samples)
        (gated, maps), losses = self._gate(first, second, sizes), {}
        for name, stream, features in zip(('first', 'second'), (self.first, self.second), gated):
            samples = self._samples(stream, sizes, data_samples)
            losses.update({f'{name}.{key}': value for key, value in stream.loss(tuple(features), samples).items()})
        return self._guidance(maps[0], first, sizes), losses

    def predict(
        self, first: Tensor, second: Tensor, data_samples: Sequence[FusionDataSample]
    ) -> Dict[str, List[FusionDataSample]]:
        """Detections of both streams, in original image coordinates; arguments as in :meth:`loss`.

        Returns:
            dict: Under ``first`` and ``second`` N samples with ``pred_instances``.
        """
        sizes = self._sizes(first, data_samples)
        gated, _ = self._gate(first, second, sizes)
        return {
            name: stream.predict(tuple(features), self._samples(stream, sizes, data_samples))
            for name, stream, features in zip(('first', 'second'), (self.first, self.second), gated)
        }

    def _gate(self, first: Tensor, second: Tensor, sizes: Sequence[Size]):
        """Gated features of both streams at all levels, and the attention maps."""
        features = [
            self._features(stream, image, sizes) for stream, image in ((self.first, first), (self.second, second))
        ]
        gated_first, gated_second, maps = self.attention(*features)
        return (gated_first, gated_second), maps

    @staticmethod
    def _sizes(image: Tensor, data_samples: Sequence[FusionDataSample]) -> List[Size]:
        """(height, width) of each image without the padding of the batch."""
        full = tuple(image.shape[-2:])
        return [tuple(int(side) for side in sample.get('img_shape', full)[:2]) for sample in data_samples]

    @staticmethod
    def _features(stream: nn.Module, image: Tensor, sizes: Optional[Sequence[Size]] = None) -> Sequence[Tensor]:
        grey = list(luminance(image).expand(-1, 3, -1, -1) * 255)
        if sizes is not None:
            grey = [one[:, :height, :width] for one, (height, width) in zip(grey, sizes)]
        inputs = stream.data_preprocessor(dict(inputs=grey, data_samples=None), False)['inputs']
        if inputs.device.type == 'cpu':
            inputs = inputs.contiguous(memory_format=torch.channels_last)  # a tenth faster there, depthwise layers most
        return type(stream).extract_feat(stream, inputs)

    @staticmethod
    def _padded(stream: nn.Module, sizes: Sequence[Size]) -> Size:
        """Size to which the stream's preprocessor pads images of these sizes."""
        divisor = stream.data_preprocessor.pad_size_divisor
        return tuple(-(-max(size[axis] for size in sizes) // divisor) * divisor for axis in (0, 1))

    def _samples(
        self, stream: nn.Module, sizes: Sequence[Size], data_samples: Sequence[FusionDataSample]
    ) -> List[FusionDataSample]:
        """Copies of the samples as the stream's preprocessor would make them: what a head does to them stays with
        it.
        """
        shape = self._padded(stream, sizes)
        samples = []
        for sample in data_samples:
            new = sample.copy_labels()
            new.set_metainfo(dict(batch_input_shape=shape, pad_shape=shape))
            samples.append(new)
        return samples

    def _guidance(self, attention: Tensor, image: Tensor, sizes: Optional[Sequence[Size]] = None) -> Dict[str, Tensor]:
        """Attention for the part of the padded input that is image."""
        if self.detach:
            attention = attention.detach()
        height, width = image.shape[-2:]
        padded = self._padded(self.first, sizes or [(height, width)])
        if padded != (height, width) or any(size != (height, width) for size in sizes or ()):
            # The map covers the detector's padding too: enlarge it to the padded input, then bring it to the size of
            # the images.
            attention = F.interpolate(attention, size=padded, mode='bilinear', align_corners=True)[..., :height, :width]
            attention = F.pad(attention, (0, width - attention.shape[-1], 0, height - attention.shape[-2]))
        return dict(attention=attention)
