"""Data preprocessor: batches in [0, 1] on the model's device from collated pairs."""

from typing import List, Optional, Sequence, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import PixelData
from torch import Tensor

from mmfusion.registry import MODELS
from mmfusion.structures import MAP_FIELDS, FusionDataSample
from mmfusion.utils.errors import InputError
from mmfusion.utils.value_range import check_unit_range

SOURCES = ('first', 'second')


@MODELS.register_module()
class FusionDataPreprocessor(BaseDataPreprocessor):
    """Move both sources to the device, scale them to [0, 1] and pad them to one size.

    Only what every fuser needs happens here; mean and standard deviation of a task network belong to that network.
    Padding is added at the right and the bottom, so boxes stay valid; where there is any, the batch names the true
    sizes, and couplings keep it out of results and losses. Each data sample gets ``pad_shape`` and
    ``batch_input_shape`` (H, W). In training ``gt_sem_seg`` is padded with ``seg_pad_value``; in test labels keep the
    original size.

    Args:
        pad_size_divisor: H and W become multiples of this number.
        pad_value: Value of the padding, in [0, 1]; None reflects each image at its borders.
        seg_pad_value: Class of the padding in class maps.
        non_blocking: Copy to the device without waiting.

    Raises:
        ValueError: No or unequal sources, input outside the type rules (uint8, or float in [0, 1]), NaN or infinite
            values, in training a class map of another size than its images; the message names the sample.

    Examples:
        >>> import torch
        >>> data = dict(inputs=dict(first=[torch.full((3, 16, 20), 255, dtype=torch.uint8)], second=[torch.zeros(1, 16, 20)]))
        >>> batch = FusionDataPreprocessor(pad_size_divisor=32)(data)
        >>> batch['inputs']['first'].shape, float(batch['inputs']['first'].max())
        (torch.Size([1, 3, 32, 32]), 1.0)
    """

    def __init__(
        self,
        pad_size_divisor: int = 1,
        pad_value: Optional[float] = None,
        seg_pad_value: int = 255,
        non_blocking: bool = False,
    ):
        super().__init__(non_blocking=non_blocking)
        if pad_size_divisor < 1:
            raise ValueError(f'pad_size_divisor must be at least 1, got {pad_size_divisor}')
        self.pad_size_divisor, self.pad_value, self.seg_pad_value = pad_size_divisor, pad_value, seg_pad_value

    def forward(self, data: dict, training: bool = False) -> dict:
        """Make one batch.

        Args:
            data: ``inputs`` with a list of (C, H, W) tensors or one (N, C, H, W) tensor per source, uint8 or float in
                [0, 1]; ``data_samples`` optional.
            training: Pad class maps as well.

        Returns:
            ``inputs`` with float32 (N, C, H, W) per source, and ``data_samples`` (None without). Where an image is
            padded, ``inputs['sizes']`` has the (H, W) of each without it.
        """
        inputs, samples = data['inputs'], data.get('data_samples')
        self._check(inputs, samples)
        inputs, samples = self.cast_data(inputs), self.cast_data(samples)
        sizes = [tuple(image.shape[-2:]) for image in inputs['first']]
        multiple = self.pad_size_divisor
        height, width = (-(-max(size[axis] for size in sizes) // multiple) * multiple for axis in (0, 1))
        batch = {source: self._stack(inputs[source], height, width) for source in SOURCES}
        if any(size != (height, width) for size in sizes):
            batch['sizes'] = tuple(sizes)
        for sample, size in zip(samples or (), sizes):
            sample.set_metainfo(dict(pad_shape=(height, width), batch_input_shape=(height, width)))
            if 'img_shape' not in sample:
                sample.set_metainfo(dict(img_shape=size))
            if training:
                self._pad_maps(sample, size, height, width)
        return dict(inputs=batch, data_samples=samples)

    def _pad_maps(self, sample: FusionDataSample, size: tuple, height: int, width: int) -> None:
        """Pad every map of labels as its images are."""
        for name in MAP_FIELDS:
            if name not in sample:
                continue
            values = getattr(sample, name).data
            if tuple(values.shape[-2:]) != size:
                what = 'class map' if name == 'gt_sem_seg' else name
                raise InputError(
                    f'the {what} of sample {sample.get("sample_id", "?")} is {tuple(values.shape[-2:])}, '
                    f'its images are {size}: '
                    'in a training pipeline, load it before the transforms that change the size'
                )
            padded = F.pad(
                values, (0, width - values.shape[-1], 0, height - values.shape[-2]), value=self.seg_pad_value
            )
            setattr(sample, name, PixelData(data=padded))

    def _stack(self, images: Union[Tensor, Sequence[Tensor]], height: int, width: int) -> Tensor:
        """List of (C, H, W) to float32 (N, C, height, width) in [0, 1]."""
        if len({(image.shape, image.dtype) for image in images}) == 1:
            scaled = [self._scale(images if isinstance(images, Tensor) else torch.stack(list(images)))]
        else:
            channels = max(image.shape[0] for image in images)
            scaled = [
                self._scale(image)[None].expand(-1, channels if image.shape[0] == 1 else -1, -1, -1) for image in images
            ]
        gaps = [(0, width - x.shape[-1], 0, height - x.shape[-2]) for x in scaled]
        if self.pad_value is None:
            padded = [reflected(x, height, width) if any(gap) else x for x, gap in zip(scaled, gaps)]
        else:
            padded = [F.pad(x, gap, value=self.pad_value) if any(gap) else x for x, gap in zip(scaled, gaps)]
        return padded[0].contiguous() if len(padded) == 1 else torch.cat(padded)

    @staticmethod
    def _scale(image: Tensor) -> Tensor:
        return image.float().div_(255) if image.dtype == torch.uint8 else image.float()

    @staticmethod
    def _check(inputs: dict, samples: Union[List, None]) -> None:
        """Look at the sources before they are moved, so that no device has to be waited for."""
        if not isinstance(inputs, dict) or set(inputs) != set(SOURCES):
            found = sorted(inputs) if isinstance(inputs, dict) else type(inputs).__name__
            raise InputError(f"inputs must be a dict with 'first' and 'second', got {found}")
        if len(inputs['first']) != len(inputs['second']) or len(inputs['first']) == 0:
            raise InputError(
                f'both sources need the same number of images, at least one; got {len(inputs["first"])} and '
                f'{len(inputs["second"])}'
            )
        if samples is not None and len(samples) != len(inputs['first']):
            raise InputError(f'{len(samples)} data samples for {len(inputs["first"])} pairs')
        for index, pair in enumerate(zip(inputs['first'], inputs['second'])):
            name = (
                str(index)
                if samples is None
                else str(samples[index].get('sample_id', samples[index].get('img_id', index)))
            )
            for source, image in zip(SOURCES, pair):
                if image.dim() != 3 or image.shape[0] not in (1, 3):
                    raise InputError(f'{source} source of sample {name} must be (1|3, H, W), got {tuple(image.shape)}')
                if image.dtype != torch.uint8 and not image.is_floating_point():
                    raise InputError(
                        f'{source} source of sample {name} must be uint8 or float in [0, 1], got {image.dtype}'
                    )
                check_unit_range(image, f'{source} source of sample {name}')
            if pair[0].shape[-2:] != pair[1].shape[-2:]:
                raise InputError(
                    f'the sources of sample {name} differ in size: {tuple(pair[0].shape[-2:])} and '
                    f'{tuple(pair[1].shape[-2:])}'
                )


def reflected(image: Tensor, height: int, width: int) -> Tensor:
    """Enlarge (..., H, W) to the right and the bottom by reflection without repeating the border, as often as it takes.

    Examples:
        >>> reflected(torch.arange(3.).view(1, 3), 1, 8).tolist()
        [[0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0, 1.0]]
    """
    for dim, full in ((-2, height), (-1, width)):
        last = image.shape[dim] - 1
        if last + 1 < full:
            place = torch.arange(full, device=image.device) % max(2 * last, 1)
            image = image.index_select(dim, torch.minimum(place, 2 * last - place).clamp_min(0))
    return image
