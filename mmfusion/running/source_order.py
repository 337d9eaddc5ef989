"""Check of the order in which a checkpoint takes its sources."""

import logging
from typing import Optional, Sequence

from mmengine.dist import is_main_process
from mmengine.logging import print_log

from mmfusion.utils.checkpoint import checkpoint_modalities


def warn_of_exchanged_sources(content: object, given: Optional[Sequence[str]], path: str) -> bool:
    """Warn when a checkpoint takes the sources the other way round.

    Args:
        content: What the checkpoint holds.
        given: Modalities of the data set, first and second; None or others than the checkpoint's say nothing about an
            order.
        path: Name of the checkpoint.

    Returns:
        Whether a warning was given.
    """
    wanted = checkpoint_modalities(content)
    exchanged = wanted is not None and given is not None and tuple(given) == wanted[::-1] and wanted[0] != wanted[1]
    if exchanged and is_main_process():
        print_log(
            f'the weights of {path} take {wanted[0]} first and {wanted[1]} second, but the data set gives {given[0]} '
            f'first and {given[1]} '
            'second: their fused images are not those that the weights were trained for. Exchange the folders of the '
            'data set '
            f'(data_prefix=dict(first=..., second=...), metainfo=dict(modalities={wanted})), or give the images to '
            f'FusionInferencer in '
            'the other order',
            'current',
            logging.WARNING,
        )
    return exchanged
