"""Memory layout in which convolutions run fastest on a CPU."""

import torch
from torch import Tensor

from mmfusion.utils.compat import exporting


def channels_last(image: Tensor) -> Tensor:
    """The same values in the layout ``channels_last``, also for one channel; on other devices than a CPU, and in an
    export, as they are.

    An image of one channel counts as laid out in both ways, so ``contiguous`` leaves its strides alone; convolutions
    then take them for the default layout and hand that on to all layers behind.

    Args:
        image: (N, C, H, W).

    Examples:
        >>> channels_last(torch.zeros(1, 1, 4, 5)).stride()
        (20, 1, 5, 1)
    """
    if image.device.type != 'cpu' or exporting():
        return image
    if image.shape[1] == 1:
        count, _, height, width = image.shape
        return image.flatten().view(count, height, width, 1).permute(0, 3, 1, 2)  # a reshape would keep the strides
    return image.contiguous(memory_format=torch.channels_last)
