"""Fuse pictures in one call: files, folders or arrays."""

import contextlib
import copy
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log

from mmfusion.datasets.transforms import LoadPair, PackFusionInputs, Register
from mmfusion.fileio import write_json
from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_writing import write_image
from mmfusion.model_zoo import DEFAULT_MODEL
from mmfusion.models.fusers.tiling import TileLike, show_tiles
from mmfusion.registry import INFERENCERS, TRANSFORMS, build_configured
from mmfusion.running.compilation import autocast, compile_fuser, compiler_errors
from mmfusion.structures import FusionDataSample
from mmfusion.utils import UserError, register_all_modules, select_device
from mmfusion.utils.errors import InputError, building
from mmfusion.utils.progress import progress_bar
from mmfusion.utils.renamed import name_fusion_task
from mmfusion.visualization import SampleView, to_picture
from mmfusion.visualization.pseudo_color import check_palette

from .build import ModelLike, build_coupling
from .pairs import Pair, Source, resolve_pairs
from .result import IMAGE_SUFFIXES, FusionResult, check_output, output_files
from .thermal import thermal_facts, thermal_picture

LABEL_LOADERS = ('LoadAnnotations', 'LoadPanopticAnnotations', 'LoadClassMap')


@INFERENCERS.register_module()
class FusionInferencer:
    """Fuse registered pairs of images, and detect objects on the result on request.

    The fused picture is made at the size of the sources, in their color. A detector, when asked for, runs on the test
    pipeline of the config, as in ``tools/test.py``; its boxes come back in pixels of the sources.

    Args:
        model: Name of a trained model (``'tdfusion'``, ``'moe_fusion'``, ``'tim'``, or one that was added; see
            ``mmfusion models list``), by default the best of those that ship; path of a config file, a config, the name
            of a fuser without parameters (``'LaplacianPyramidFuser'``, ``'AverageFuser'``, ``'MaximumFuser'``), the
            config of a fuser or a coupling, or a built one.
        weights: Checkpoint for it.
        device: ``'cpu'``, ``'cuda'``, ``'cuda:1'``, or None for a GPU if there is one.
        fuser_options: Keyword arguments for every call of the fuser, for fusers that have some:
            ``dict(fusion_task='multi_focus', shift=0.2)`` for :class:`TCMoA`. They stand in the attribute
            ``fuser_options``, where they can be changed between calls.
        load: Config of :class:`LoadPair` (without ``type``) where files need more than the config says:
            ``dict(bit_depth=14)``, ``dict(stretch=(1, 99))``, ``dict(color_type='grayscale')``.
            ``dict(registration='auto')`` registers pairs that do not lie on each other or differ in size, and refuses
            those it cannot place.
        compile: Let ``torch.compile`` make the fuser faster, where that was measured to help. The first pair takes a
            minute, and the first of each further size, so it is for many pairs of few sizes.
        precision: ``'fp32'``, or autocast to ``'bf16'`` or (on a GPU) ``'fp16'``; the latter two move a picture by a
            gray level or two.

        tile: For large images: (height, width) of the pieces that they are fused in, or ``'auto'`` for pieces that fit
            into memory; see :meth:`~mmfusion.models.fusers.BaseFuser.set_tile`. None leaves it to the config, which has
            whole images by default.

    Attributes:
        card: Card of a trained model: data, terms, figures. None for all else.

    Raises:
        UserError: The config or checkpoint is missing or does not fit, the GPU asked for is not there, the fuser has no
            such option, it does not gain by being compiled, or the precision is not known.

    Examples:
        >>> import numpy as np
        >>> fuse = FusionInferencer('AverageFuser')
        >>> fuse(np.full((20, 24), 10, np.uint8), np.full((20, 24), 31, np.uint8))[0].fused[0, 0]
        np.uint8(21)
    """

    def __init__(
        self,
        model: ModelLike = DEFAULT_MODEL,
        weights: Optional[Union[str, Path]] = None,
        device: Optional[str] = 'cpu',
        load: Optional[dict] = None,
        fuser_options: Optional[Dict[str, object]] = None,
        compile: bool = False,
        precision: str = 'fp32',
        tile: TileLike = None,
    ) -> None:
        register_all_modules()
        device = select_device(device)
        autocast(precision, device)  # said now if it cannot be
        self.coupling, pipeline, self.meta, self.card = build_coupling(model, weights, str(device))
        self.device, self.precision = device, precision
        if tile is not None:
            self.coupling.fuser.set_tile(tile)
        if compile:
            if self.coupling.fuser.tiling is not None:
                raise UserError('tiles are not compiled: leave out compile (--compile) or tile (--tile)')
            compile_fuser(self.coupling, device)
        self.fuser_options = fuser_options or {}
        index = next((i for i, cfg in enumerate(pipeline) if _type_name(cfg) == 'LoadPair'), None)
        # a cache is for pairs that are read again and again, and reduced sizes are for a pipeline that shrinks
        options = (
            {}
            if index is None
            else {key: value for key, value in pipeline[index].items() if key not in ('type', 'cache', 'reduce_to')}
        )
        with building('LoadPair'):
            self.load = LoadPair(**{**options, **(load or {})})
        self.register = self._registration(pipeline, load)
        self.pack = PackFusionInputs()
        # labels are not there to be loaded
        rest = [
            cfg
            for cfg in pipeline[0 if index is None else index + 1 :]
            if _type_name(cfg) not in (*LABEL_LOADERS, 'Register')
        ]
        self.test_transforms = [build_configured(TRANSFORMS, cfg) for cfg in rest] or [self.pack]

    @property
    def fuser_options(self) -> Dict[str, object]:
        """Keyword arguments for every call of the fuser; change them here, or assign others."""
        return self.coupling.fuser_options

    @fuser_options.setter
    def fuser_options(self, options: Dict[str, object]) -> None:
        name, known = type(self.coupling.fuser).__name__, self.coupling.fuser.options()
        options = name_fusion_task(dict(options), known, name)
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise UserError(f'{name} has no option {", ".join(unknown)}; it has {", ".join(known) or "none"}')
        self.coupling.fuser_options = options

    def __call__(
        self,
        first: Union[Source, Sequence[Source]],
        second: Union[Source, Sequence[Source]],
        out_dir: Optional[Union[str, Path]] = None,
        draw_boxes: bool = False,
        panel: bool = False,
        score_thr: float = 0.3,
        batch_size: int = 1,
        predict: Optional[bool] = None,
        return_images: Optional[bool] = None,
        channel_order: str = 'rgb',
        on_error: str = 'raise',
        skip_existing: bool = False,
        suffixes: Sequence[str] = ('', ''),
        progress: Optional[bool] = None,
        bit_depth: int = 8,
        file_format: str = 'png',
        palette: Optional[str] = None,
    ) -> List[FusionResult]:
        """Fuse all pairs.

        Args:
            first: A file, a folder, an array (H, W) or (H, W, 3), uint8, uint16 or float in [0, 1], or a list of files
                and arrays.
            second: The partner or partners, of the same kind; folders are matched by file stem.
            out_dir: Folder for ``NAME.png``, ``boxes/NAME.png`` and ``panel/NAME.png``; for a single pair also a file
                name such as ``fused.png``. Every file is whole or absent.
            draw_boxes: Detect, and draw the boxes on a picture of their own and in the panel.
            panel: Make the picture of both sources and the fused image side by side.
            score_thr: Boxes with a lower score are not drawn; ``instances`` holds them all.
            batch_size: Consecutive pairs of equal size are fused together, up to so many.
            predict: Run the task networks; as ``draw_boxes`` when None.
            return_images: Keep the pictures (and ``data_sample.fused``) in the results. None: only when nothing is
                written or there is one pair, so that large folders fit in memory.
            channel_order: ``'rgb'`` or ``'bgr'``: order of color arrays, given and returned.
            on_error: ``'skip'`` logs pairs that cannot be read and images without partner, and goes on; ``'raise'``
                stops.
            skip_existing: Leave out pairs whose files are all there, so that an interrupted run goes on where it
                stopped.
            suffixes: Endings of the stems that tell the sources apart in folders, such as ``('_vi', '_ir')``.
            progress: Show a progress bar (a line per tenth of the pairs where stderr is no terminal); for more than one
                pair when None.
            bit_depth: Of the fused picture, 8 or 16 (png and tif files); pictures for looking at have 8 always.
            file_format: Extension of fused pictures in a folder: ``'png'``, ``'tif'``, ``'jpg'`` or ``'bmp'``.
            palette: Also make ``thermal/NAME.png``, the thermal source in false color with a scale bar: ``'inferno'``
                or another of :data:`mmfusion.visualization.pseudo_color.PALETTES`. For sources with a window
                (``load=dict(window=...)``).

        Where :class:`LoadPair` has a ``window``, ``NAME.json`` beside the fused picture keeps the range of
        temperatures, and minimum, maximum and mean in each detected box.

        Returns:
            One result per pair, in order, skipped ones included.

        Raises:
            UserError: Wrong paths, nothing to fuse, or boxes without a detector.
            PairDataError: A file is unreadable, or the sources of a pair differ in size.
            OSError: A picture cannot be written.
            ValueError: An argument is out of range.
        """
        if channel_order not in ('rgb', 'bgr'):
            raise InputError(f"channel_order must be 'rgb' or 'bgr', got {channel_order!r}")
        if on_error not in ('raise', 'skip'):
            raise InputError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        if batch_size < 1:
            raise InputError(f'batch_size must be at least 1, got {batch_size}')
        if bit_depth not in (8, 16):
            raise InputError(f'bit_depth must be 8 or 16, got {bit_depth!r}')
        if f'.{file_format}' not in IMAGE_SUFFIXES:
            raise InputError(f'file_format must be png, tif, jpg or bmp, got {file_format!r}')
        check_output(out_dir, bit_depth, file_format)
        windowed = any(self.load.window.values())
        if palette is not None and not windowed:
            raise UserError(
                'a palette is for sources with a window of temperatures: load=dict(window=(low, high)), or --window'
            )
        if palette is not None:
            check_palette(palette)
        self.load.keep_values = windowed
        predict = draw_boxes if predict is None else predict
        if draw_boxes and not any(task.kind == 'detection' for task in self.coupling.tasks.values()):
            raise UserError(
                'boxes were asked for, but this model has no detector; give the config and the weights of a '
                'coupling with one'
            )
        pairs = resolve_pairs(first, second, on_error, suffixes)
        if out_dir is not None and Path(out_dir).suffix.lower() in IMAGE_SUFFIXES and len(pairs) > 1:
            raise UserError(f'{len(pairs)} pairs cannot be written to the one file {out_dir}; give a folder')
        optional = dict(boxes=draw_boxes, panel=panel, thermal=palette is not None, temperatures=windowed)
        kinds = ('fused', *(kind for kind, wanted in optional.items() if wanted))
        suffix = f'.{file_format}'
        keep = return_images if return_images is not None else out_dir is None or len(pairs) == 1

        results: Dict[str, FusionResult] = {}
        # of several pairs a file gets lines about pairs alone
        of_tiles = progress is not False and (len(pairs) == 1 or sys.stderr.isatty())
        with (
            progress_bar(len(pairs), 'fusing', shown=len(pairs) > 1 if progress is None else progress) as bar,
            show_tiles(of_tiles),
        ):
            for batch in self._batches(
                pairs, batch_size, (out_dir, kinds, suffix), skip_existing, on_error, channel_order, results
            ):
                samples = self._predict(batch) if predict else [None] * len(batch)
                for item, image, sample in zip(batch, self._fuse(batch, samples), samples):
                    fused = to_picture(image, bit_depth)
                    view = self._view(item, fused if bit_depth == 8 else to_picture(image), sample)
                    thermal = thermal_facts(item, view, self.meta, score_thr)
                    pictures = dict(
                        fused=fused,
                        boxes=view.with_boxes(self.meta, score_thr) if draw_boxes else None,
                        panel=(view if draw_boxes else _without_boxes(view)).panel(self.meta, score_thr)
                        if panel
                        else None,
                        thermal=thermal_picture(item, palette) if palette is not None else None,
                    )
                    files = output_files(out_dir, item['sample_id'], kinds, suffix)
                    for kind, file in files.items():
                        if kind == 'temperatures':
                            write_json(file, thermal)
                            files[kind] = os.path.abspath(file)
                        else:
                            files[kind] = write_image(file, pictures[kind])
                    result = self._result(item, sample, pictures if keep else {}, files, channel_order)
                    result.thermal = thermal
                    results[item['sample_id']] = result
                bar.update(len(results) - bar.n)
            bar.update(len(results) - bar.n)
        return [results[pair.name] for pair in pairs]

    def fuse_loaded(self, item: dict, predict: bool = False) -> Tuple[np.ndarray, Optional[FusionDataSample]]:
        """Fuse one pair that ``self.load`` has loaded; for loops that read and write themselves.

        Args:
            item: What ``self.load(dict(sample_id=..., img_id=..., first=..., second=...))`` gave, arrays in BGR.
            predict: Run the task networks.

        Returns:
            (H, W) or (H, W, 3) RGB uint8; and what the task networks predicted, None without them.

        Raises:
            UserError: The fused image is not finite.
        """
        samples = self._predict([item]) if predict else [None]
        return to_picture(self._fuse([item], samples)[0]), samples[0]

    def _batches(
        self,
        pairs: Sequence[Pair],
        batch_size: int,
        outputs: tuple,
        skip_existing: bool,
        on_error: str,
        channel_order: str,
        results: Dict[str, FusionResult],
    ) -> Iterator[List[dict]]:
        """Load the pairs and group neighbors of equal shape; put skipped pairs into ``results``."""
        batch: List[dict] = []
        out_dir, kinds, suffix = outputs
        for index, pair in enumerate(pairs):
            files = output_files(out_dir, pair.name, kinds, suffix)
            if skip_existing and files and all(os.path.exists(file) for file in files.values()):
                results[pair.name] = FusionResult(pair.name, files=files, skipped='the files exist')
                continue
            try:
                item = self._load(pair, index, channel_order)
            except PairDataError as error:
                if on_error == 'raise':
                    raise
                print_log(f'{pair.name} is skipped: {error}', 'current', logging.WARNING)
                results[pair.name] = FusionResult(pair.name, skipped=str(error))
                continue
            if batch and (len(batch) == batch_size or _shapes(item) != _shapes(batch[0])):
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch

    def _load(self, pair: Pair, index: int, channel_order: str) -> dict:
        item = dict(sample_id=pair.name, img_id=index)
        for label, source in (('first', pair.first), ('second', pair.second)):
            if isinstance(source, np.ndarray):
                flip = channel_order == 'rgb' and source.ndim == 3 and source.shape[2] == 3
                item[label] = np.ascontiguousarray(source[..., ::-1] if flip else source)  # pipelines work in BGR
            else:
                item[f'{label}_path'] = str(source)
        item = self.load(item)
        return item if self.register is None else self.register(item)

    @staticmethod
    def _registration(pipeline: Sequence[dict], load: Optional[dict]) -> Optional[Register]:
        """The step ``Register`` of a pipeline; ``load=dict(registration=...)`` takes its place."""
        found = next((cfg for cfg in pipeline if _type_name(cfg) == 'Register'), None)
        if found is None or (load or {}).get('registration') is not None:
            return None
        with building('Register'):
            return Register(**{key: value for key, value in found.items() if key not in ('type', 'labels')})

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Context of everything that the networks do."""
        with warnings.catch_warnings(), compiler_errors(self.coupling):
            warnings.filterwarnings('ignore', 'precision ')  # said once, when this was made
            with torch.no_grad(), autocast(self.precision, self.device):
                yield

    def _fuse(self, batch: List[dict], samples: Sequence) -> List[torch.Tensor]:
        """Fused images (C, H, W) at the size of the sources; taken from the predictions where these were made at that
        size.
        """
        if all(_at_source_size(item, sample) for item, sample in zip(batch, samples)):
            images = [sample.fused.data for sample in samples]
        else:
            data = self._collate([self.pack(copy.copy(item)) for item in batch])
            with self._running():
                images = self.coupling.fuse(data['inputs']).image
        for image, item in zip(images, batch):
            if not all(extreme.isfinite() for extreme in image.aminmax()):  # quicker than each value
                raise UserError(
                    f'the fused image of {item["sample_id"]} holds NaN or infinite values; did the training of these '
                    f'weights diverge?'
                )
        return [image[:, : item['ori_shape'][0], : item['ori_shape'][1]].float() for image, item in zip(images, batch)]

    def _predict(self, batch: List[dict]) -> list:
        packed = []
        for item in batch:
            data = copy.deepcopy(item)
            for transform in self.test_transforms:
                data = transform(data)
            packed.append(data)
        data = self._collate(packed)
        with self._running():
            return self.coupling(data['inputs'], data['data_samples'], mode='predict')

    def _collate(self, packed: List[dict]) -> dict:
        return self.coupling.data_preprocessor(pseudo_collate(packed), False)

    def _view(self, item: dict, fused: np.ndarray, sample) -> SampleView:
        """The pictures of one pair at the size of its sources."""
        sources = self.pack(copy.copy(item))['inputs']
        return SampleView(
            fused, to_picture(sources['first']), to_picture(sources['second']), *found_boxes(sample), True
        )

    def _result(self, item: dict, sample, pictures: dict, files: dict, channel_order: str) -> FusionResult:
        if channel_order == 'bgr':
            pictures = {
                kind: image if image is None or image.ndim == 2 else image[..., ::-1]
                for kind, image in pictures.items()
            }
        result = FusionResult(
            item['sample_id'],
            pictures.get('fused'),
            boxes_image=pictures.get('boxes'),
            panel=pictures.get('panel'),
            thermal_image=pictures.get('thermal'),
            files=files,
            registration=item.get('registration'),
        )
        if sample is not None:
            result.data_sample = sample.cpu()
            if not pictures:  # large folders must fit in memory
                for name in ('fused', 'seg_logits'):
                    if name in result.data_sample:
                        delattr(result.data_sample, name)
            result.instances = result.data_sample.get('pred_instances', None)
        return result


def found_boxes(sample: Optional[FusionDataSample]) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 4), labels (n,) and scores (n,) that a detector found, empty without one."""
    instances = None if sample is None else sample.get('pred_instances', None)
    if instances is None:
        return np.zeros((0, 4)), np.zeros(0, int), np.zeros(0)
    return tuple(instances[key].cpu().numpy() for key in ('bboxes', 'labels', 'scores'))


def _at_source_size(item: dict, sample) -> bool:
    return sample is not None and sample.fused.data.shape[-2:] == item['ori_shape'] and not sample.get('flip')


def _type_name(cfg: dict) -> str:
    kind = cfg['type']
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__


def _shapes(item: dict) -> tuple:
    return item['first'].shape, item['second'].shape


def _without_boxes(view: SampleView) -> SampleView:
    return view._replace(boxes=view.boxes[:0], labels=view.labels[:0], scores=view.scores[:0])
