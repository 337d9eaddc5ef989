"""An exported file, ready to fuse."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Union

import numpy as np

from mmfusion.utils.errors import InputError, MissingFileError, UserError

from .metadata import GraphInfo, read_info
from .pictures import check_pair, is_gray, to_input, to_output
from .tiling import plan_cutting, run_tiled

INSTALL = "pip install onnxruntime (or mmfusion's requirements/runtime_only.txt)"


@dataclass
class RuntimeResult:
    """What one pair gave.

    Attributes:
        fused: (H, W) or (H, W, 3) RGB, uint8 or uint16.
        boxes: (n, 4) xyxy in pixels, scores (n,) and labels (n,) of a detector; None without one.
        scores: See ``boxes``.
        labels: See ``boxes``.
        class_map: (H, W) classes of a segmentor; None without one.
    """

    fused: np.ndarray
    boxes: Optional[np.ndarray] = None
    scores: Optional[np.ndarray] = None
    labels: Optional[np.ndarray] = None
    class_map: Optional[np.ndarray] = None


@dataclass
class RuntimeModel:
    """A file of ``mmfusion export``, run by onnxruntime; neither torch nor mmengine nor mmcv is needed.

    Args:
        path: The ``.onnx`` file.
        threads: Threads of onnxruntime, 0 for as many as there are cores.
        providers: Execution providers of onnxruntime, by default the CPU.

    Attributes:
        info: What the file says of itself.

    Raises:
        UserError: onnxruntime is missing, there is no such file, it cannot be run, or ``mmfusion export`` did not make
            it.
    """

    path: Union[str, Path]
    threads: int = 0
    providers: Sequence[str] = field(default=('CPUExecutionProvider',))

    def __post_init__(self) -> None:
        if find_spec('onnxruntime') is None:
            raise UserError(f'running an exported file needs onnxruntime: {INSTALL}')
        import onnxruntime

        if not Path(self.path).is_file():
            raise MissingFileError(f'there is no file {self.path}; mmfusion export makes one')
        missing = sorted(set(self.providers) - set(onnxruntime.get_available_providers()))
        if missing:
            raise UserError(
                f'this onnxruntime has no {", ".join(missing)}; it has '
                f'{", ".join(onnxruntime.get_available_providers())}'
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self.threads
        try:
            self.session = onnxruntime.InferenceSession(str(self.path), options, providers=list(self.providers))
        except RuntimeError as error:
            raise UserError(
                f'{self.path} cannot be run: {str(error).splitlines()[0][:200]}; export it again'
            ) from error
        except Exception as error:  # onnxruntime's errors about damaged files have no common base but this
            if not type(error).__module__.startswith('onnxruntime'):
                raise
            raise UserError(
                f'{self.path} cannot be run: {str(error).splitlines()[0][:200]}; export it again'
            ) from error
        self.info: GraphInfo = read_info(self.session.get_modelmeta().custom_metadata_map, str(self.path))
        self.outputs: List[str] = [output.name for output in self.session.get_outputs()]

    def __call__(
        self,
        first: np.ndarray,
        second: np.ndarray,
        tile: Optional[int] = None,
        overlap: Optional[int] = None,
        bits: int = 8,
        bit_depth: Optional[int] = None,
        names: Sequence[str] = ('first', 'second'),
    ) -> RuntimeResult:
        """Fuse a pair.

        Args:
            first: (H, W), (H, W, 1) or (H, W, 3) RGB; uint8, or uint16 or float in [0, 1] where the file takes float32.
            second: Likewise, of the same size.
            tile: Run in tiles of this side where the picture is larger, for bounded memory; the whole picture at once
                without.
            overlap: Pixels that neighboring tiles share at least. None for as many as the receptive field needs, which
                gives the result of the whole picture, and for 64 where the network looks at all of it, which gives one
                that is near.
            bits: 8 or 16, of the fused picture.
            bit_depth: Significant bits of uint16.
            names: What messages call the sources.

        Raises:
            ValueError: A picture is of a kind, size or range that the file does not take, or an argument is out of
                range.
        """
        if bits not in (8, 16):
            raise InputError(f'bits must be 8 or 16, got {bits}')
        if bits == 16 and self.info.output == 'uint8':
            raise InputError(f'{self.path} gives 8 bits; export it with --output float32 for 16')
        gray = self.info.keeps_gray and is_gray(np.asarray(first)) and is_gray(np.asarray(second))
        inputs = [
            to_input(np.asarray(picture), channels, self.info.input, name, bit_depth)
            for picture, channels, name in zip((first, second), self.info.channels, names)
        ]
        size = check_pair(*inputs, self.info, names)
        if tile is not None:
            cutting = plan_cutting(tile, overlap, self.info)
            if self.info.tasks:
                raise InputError(
                    f'{self.path} detects or segments, which needs the whole picture: run it without tiles'
                )
        if tile is not None and max(size) > tile:
            fused = run_tiled(lambda a, b: self._run(a, b)[self._fused], *inputs, cutting)
            return RuntimeResult(to_output(fused, bits, gray))
        found = self._run(*inputs)
        others = {name: found[name] for name in ('boxes', 'scores', 'labels', 'class_map') if name in found}
        if 'boxes' in others:
            present = others['scores'] > 0
            others.update({name: others[name][present] for name in ('boxes', 'scores', 'labels')})
        return RuntimeResult(to_output(found[self._fused], bits, gray), **others)

    @property
    def _fused(self) -> str:
        return 'fused' if self.info.output == 'uint8' else 'fused_float'

    def _run(self, first: np.ndarray, second: np.ndarray) -> Dict[str, np.ndarray]:
        """Outputs of one pair (H, W, C), without the axis of the batch."""
        values = self.session.run(self.outputs, {'first': first[None], 'second': second[None]})
        return {name: value[0] for name, value in zip(self.outputs, values)}
