"""mmengine visualizer whose picture of a sample is the panel of sources and fused image."""

from typing import Optional, Sequence

import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer
from torch import Tensor

from mmfusion.fileio.image_writing import write_image
from mmfusion.registry import VISUALIZERS

from .sample_view import view_sample


@VISUALIZERS.register_module()
class FusionVisualizer(Visualizer):
    """Show a sample as a panel (first source, second source, fused image with boxes) in a file or in every
    visualization backend.

    With ``vis_backends=[dict(type='TensorboardVisBackend')]`` the panels appear in TensorBoard.
    ``FusionVisualizationHook`` draws in training and test; for hooks and notebooks of one's own there is
    :meth:`add_datasample`, as the visualizers of mmdet and mmseg have it::

        runner.visualizer.add_datasample('night', (inputs['first'], inputs['second']), sample, step=runner.iter)
    """

    @master_only
    def add_datasample(
        self,
        name: str,
        image: Sequence[Tensor],
        data_sample=None,
        score_thr: float = 0.3,
        titles: Optional[Sequence[str]] = None,
        out_file: Optional[str] = None,
        step: int = 0,
    ) -> np.ndarray:
        """Draw one sample.

        Args:
            name: Tag in the backends.
            image: First and second source, (C, H, W) each, uint8 or floating in [0, 1], at network size.
            data_sample: FusionDataSample with ``fused`` and perhaps ``pred_instances``.
            score_thr: Boxes with a lower score are left out.
            titles: Three titles; the data set's modalities when missing.
            out_file: Write the panel there instead of the backends.
            step: Global step of the backends.

        Returns:
            The panel, (H, W, 3) RGB uint8.
        """
        panel = view_sample(data_sample, *image).panel(self.dataset_meta, score_thr, titles)
        if out_file:
            write_image(out_file, panel)
        else:
            self.add_image(name, panel, step)
        return panel
