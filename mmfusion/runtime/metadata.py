"""Metadata of an exported file: what it says of itself."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Dict, Mapping, Optional, Tuple

from mmfusion.utils.errors import UserError

KEY = 'mmfusion'
VERSION = 1


@dataclass(frozen=True)
class GraphInfo:
    """Everything that a program needs to use the file, kept in it as JSON.

    Attributes:
        name: Model, config or fuser that it was made from.
        fuser: Registered type of the fuser.
        made_with: Version of mmfusion.
        sources: Modalities of the first and the second image.
        channels: Channels of both inputs, 1 (gray) or 3 (RGB).
        input: ``'uint8'``, or ``'float32'`` in [0, 1]; pictures are (N, H, W, C).
        output: The same of the fused picture.
        smallest: Smallest height and width.
        reach: Pixels to each side that a pixel of the fused picture depends on; None where it is the whole picture, or
            is not known.
        multiple: Tiles start at multiples of this, for a result that is that of the whole picture.
        keeps_gray: Whether a pair of gray pictures has a gray result.
        options: Options of the fuser, which are fixed in the file.
        sha256: Of the weights file; None where there was none.
        fuser_sha256: The same of the trained model whose fuser stands before the task networks of a config; None
            elsewhere.
        license: Terms on which the weights may be used, as far as they are known.
        opset: Of ONNX.
        tasks: By name of the task network: ``kind``, ``type``, ``classes`` and ``palette``.
        checked: Sizes that were compared with the network, with the differences.
        precision: ``'float32'``, ``'half'`` or ``'int8'``.
        float_tasks: Whether the task networks are in float32 all the same.
        kept: Of ``half`` and ``int8``, what was measured against float32: ``pairs``, ``psnr`` (dB, lowest of the pairs,
            None where nothing differs), ``mean_psnr``, ``map50`` and ``map50_float32`` (points) with a detector,
            ``other_class`` (share of pixels) with a segmentor.
    """

    name: str
    fuser: str
    made_with: str
    sources: Tuple[str, str]
    channels: Tuple[int, int]
    input: str
    output: str
    smallest: int
    keeps_gray: bool = True
    options: Dict[str, Any] = field(default_factory=dict)
    sha256: Optional[str] = None
    fuser_sha256: Optional[str] = None
    license: str = ''
    opset: int = 18
    tasks: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    checked: Tuple[str, ...] = ()
    reach: Optional[int] = None
    multiple: int = 1
    precision: str = 'float32'
    float_tasks: bool = False
    kept: Dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Text for the file."""
        return json.dumps({'version': VERSION, **asdict(self)})


def read_info(metadata: Mapping[str, str], path: str) -> GraphInfo:
    """What a file says of itself.

    Args:
        metadata: Custom metadata of the file.
        path: The file, for messages.

    Raises:
        UserError: It was not made by ``mmfusion export``, or by another version.
    """
    if KEY not in metadata:
        raise UserError(f'{path} was not made by mmfusion export: it does not say what its inputs are')
    try:
        content = json.loads(metadata[KEY])
        version = content.pop('version')
        if version != VERSION or set(content) - {entry.name for entry in fields(GraphInfo)}:
            raise UserError(
                f'{path} was made by mmfusion {content.get("made_with")}; export it again with this version'
            )
        for name in ('sources', 'channels', 'checked'):
            content[name] = tuple(content[name])
        return GraphInfo(**content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f'{path} is damaged: what it says of itself cannot be read ({error}); export it again'
        ) from None
