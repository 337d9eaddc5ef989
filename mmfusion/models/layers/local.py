"""Running a network of small reach strip by strip in inference, so that large pictures do not take memory in proportion
to their size.

Strips overlap, so a picture that is cut takes up to a quarter longer than one that is not; pictures of common sizes are
left whole.
"""

from typing import Callable

import torch
from torch import Tensor

from .strips import must_stay_whole

#: Bytes of the widest features in a strip: those of 128 channels at 640x480 are 157 MB.
STRIP_BYTES = 256 * 1024 * 1024


def map_local(function: Callable[..., Tensor], *images: Tensor, reach: int, width: int) -> Tensor:
    """``function(*images)`` of a function that looks at the neighborhood of a pixel, image by image and strip by strip
    where its features are large.

    Strips are cut on a CPU, where nothing learns, for images that do not fit into one; not under autocast and not while
    a graph is traced. They overlap by ``reach`` rows, so the results are those of whole images up to rounding, whatever
    the function does at the borders of its input.

    Args:
        function: Takes images (n, C, h, W) and gives (n, D, h, W). No batch statistics.
        images: (N, C, H, W) each; C may differ.
        reach: Rows above and below that a pixel of the result depends on.
        width: Channels of the widest features inside the function, for all images together; they set the height of a
            strip.

    Returns:
        Tensor: (N, D, H, W).

    Examples:
        >>> blur = torch.nn.AvgPool2d(3, 1, 1)
        >>> image = torch.rand(1, 1, 200, 20)
        >>> with torch.no_grad():
        ...     torch.equal(map_local(blur, image, reach=1, width=30000), blur(image))
        True
    """
    if must_stay_whole():  # first, since a traced graph would keep what is asked of its sizes
        return function(*images)
    number, _, rows, columns = images[0].shape
    height = max(2 * reach, 1, STRIP_BYTES // (width * columns * images[0].element_size()))
    if images[0].device.type != 'cpu' or height >= rows or torch.is_grad_enabled():
        return function(*images)
    height = -(-rows // -(-rows // height))  # strips of about equal height
    result = None
    for n in range(number):
        for start in range(0, rows, height):
            stop = min(start + height, rows)
            above, below = min(start, reach), min(rows - stop, reach)
            part = function(*(image[n : n + 1, :, start - above : stop + below] for image in images))
            if result is None:
                result = part.new_empty(number, rows, columns, part.shape[1]).permute(0, 3, 1, 2)
            result[n : n + 1, :, start:stop] = part[:, :, above : part.shape[2] - below]
    return result
