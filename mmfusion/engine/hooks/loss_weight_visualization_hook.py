"""Pictures of the learned loss weights while they are learned."""

import os
from typing import Optional, Sequence

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmfusion.fileio.image_writing import FileNames, write_image
from mmfusion.registry import HOOKS
from mmfusion.utils.errors import InputError
from mmfusion.utils.unwrap import unwrap
from mmfusion.visualization import make_panel, to_picture


def color_map(values: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Numbers as colors, dark blue at ``low`` to yellow at ``high``.

    Args:
        values: (H, W).
        low: Value of the first color.
        high: Value of the last color; equal to ``low`` makes one color.

    Returns:
        (H, W, 3) RGB uint8.

    Examples:
        >>> color_map(np.array([[0., 1.]])).tolist()
        [[[68, 1, 84], [253, 231, 37]]]
    """
    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return cv2.applyColorMap(np.round(scaled * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]


@HOOKS.register_module()
class LossWeightVisualizationHook(Hook):
    """Write, every few epochs, the weight of the first source as a color map beside both sources and the fused image.

    For couplings with a loss generation module. The files are ``{out_dir}/epoch_{n}/{sample_id}.png``; ``epoch_0``
    shows the weights before the first step. The color map's title gives the values of its darkest and its brightest
    color. Mean weights over the shown samples are logged. A picture that cannot be written is one error in the log;
    training goes on.

    Args:
        interval: Epochs between pictures; the last epoch is always shown.
        num_samples: The first so many samples of the data set.
        phase: ``'val'`` or ``'train'``: whose samples. The training set is shown when there is no validation.
        value_range: Weights of the first and last color; None takes least and greatest weight of the picture.
        out_dir: Folder, relative to the runner's ``work_dir``.

    Raises:
        ValueError: An argument is out of range.
    """

    priority = 'LOW'

    def __init__(
        self,
        interval: int = 1,
        num_samples: int = 4,
        phase: str = 'val',
        value_range: Optional[Sequence[float]] = None,
        out_dir: str = 'loss_weights',
    ) -> None:
        if interval < 1 or num_samples < 1:
            raise ValueError(
                f'LossWeightVisualizationHook: interval and num_samples must be at least 1, got {interval} and '
                f'{num_samples}'
            )
        if phase not in ('val', 'train'):
            raise ValueError(f"LossWeightVisualizationHook: phase must be 'val' or 'train', got {phase!r}")
        if value_range is not None and (len(value_range) != 2 or value_range[0] >= value_range[1]):
            raise ValueError(f'LossWeightVisualizationHook: value_range must be (least, greatest), got {value_range}')
        self.interval, self.num_samples, self.phase = interval, num_samples, phase
        self.value_range, self.out_dir = value_range, out_dir

    def before_train(self, runner) -> None:
        """Show the weights before the first step; check the model."""
        if not hasattr(self._coupling(runner), 'generate_weights'):
            raise InputError(
                f'LossWeightVisualizationHook: {type(self._coupling(runner)).__name__} has no loss generation '
                f'module; remove the hook'
            )
        if runner.epoch == 0:
            self._show(runner, 0)

    def after_train_epoch(self, runner) -> None:
        """Show the weights of the epoch."""
        if (runner.epoch + 1) % self.interval == 0 or runner.epoch + 1 == runner.max_epochs:
            self._show(runner, runner.epoch + 1)

    @staticmethod
    def _coupling(runner):
        return unwrap(runner.model)

    def _show(self, runner, epoch: int) -> None:
        if not is_main_process():
            return
        val = self.phase == 'val' and runner.val_loop is not None
        dataset = (runner.val_dataloader if val else runner.train_dataloader).dataset
        coupling, names, means = self._coupling(runner), FileNames(), []
        training = coupling.training
        coupling.eval()
        with torch.random.fork_rng():  # the numbers of the training do not depend on pictures
            for index in range(min(self.num_samples, len(dataset))):
                data = coupling.data_preprocessor(pseudo_collate([dataset[index]]), False)
                with torch.no_grad():
                    fusion = coupling.fuse(data['inputs'], data_samples=data['data_samples'])
                    part = fusion.parts()[0][1]  # without padding
                    weight = coupling.generate_weights(part.first, part.second)[0, 0]
                height, width = data['data_samples'][0].img_shape[:2]
                weight = weight.float().cpu().numpy()
                means.append(float(weight.mean()))
                images = [*(data['inputs'][name][0] for name in ('first', 'second')), fusion.image[0].clamp(0, 1)]
                images = [to_picture(image[:, :height, :width]) for image in images]
                name = names(data['data_samples'][0].get('sample_id', index), index)
                try:
                    path = os.path.join(runner.work_dir, self.out_dir, f'epoch_{epoch}', f'{name}.png')
                    write_image(path, self._panel(images, weight, dataset))
                except OSError as error:
                    runner.logger.error(f'{error}. No more loss weights are shown for epoch {epoch}; training goes on.')
                    break
        coupling.train(training)
        runner.logger.info(
            f'weight of the first source after epoch {epoch}: mean {np.mean(means):.4f} over {len(means)} samples'
        )

    def _panel(self, images: Sequence[np.ndarray], weight: np.ndarray, dataset) -> np.ndarray:
        low, high = self.value_range or (float(weight.min()), float(weight.max()))
        titles = list(getattr(dataset, 'metainfo', {}).get('modalities') or ('first', 'second'))[:2]
        return make_panel(
            [*images[:2], color_map(weight, low, high), images[2]],
            [*titles, f'weight of {titles[0]} {low:.3f}..{high:.3f}', 'fused'],
        )
