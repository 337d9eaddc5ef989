"""Starting from published weights, also on a machine without a network."""
from urllib.error import URLError

from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from torch import nn

from mmfusion.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class PretrainedIfReachable(PretrainedInit):
    """Load pretrained weights; when their *host* cannot be reached, say so loudly and train from random weights.

    Only an unreachable address is forgiven. A missing local file or a damaged checkpoint stays an error.

    Args:
        checkpoint: URL or path of the weights.
        prefix: Part of the checkpoint to take, such as ``'backbone.'``.
        map_location: Where tensors are loaded to.
    """

    def __call__(self, module: nn.Module) -> None:
        """Initialise ``module`` in place."""
        try:
            super().__call__(module)
        except (URLError, ConnectionError, TimeoutError) as error:
            print_log(
                f'{type(module).__name__} starts from RANDOM weights: {self.checkpoint} could not be reached ({error}). '
                'Results will be worse than published. Download the file and set `init_cfg.checkpoint` to its path.',
                logger='current',
                level=30)
