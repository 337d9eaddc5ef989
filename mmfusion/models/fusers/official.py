"""Conversion of a published file to a checkpoint of a fuser: what all methods share."""

from pathlib import Path
from typing import Callable, List, Optional, Sequence, Union

import torch
from mmengine.config import Config

from mmfusion.registry import MODELS, build_configured
from mmfusion.utils.config import read_config
from mmfusion.utils.conversion import State, converting, read_official, write_fuser
from mmfusion.utils.state_dict import STATE_KEYS

from .base import BaseFuser


def fuser_without_weights(config: Union[str, Path, Config]) -> BaseFuser:
    """The ``fuser`` of a config on the meta device: its names and shapes are wanted, not its values."""
    if not isinstance(config, Config):
        config = read_config(config)
    with torch.device('meta'):
        return build_configured(MODELS, config.fuser)


def convert_files(
    sources: Sequence[Union[str, Path]],
    target: Union[str, Path],
    config: Union[str, Path, Config],
    what: str,
    convert: Callable[[List[State], BaseFuser], State],
    modalities: Optional[Sequence[str]] = None,
    keys: Sequence[str] = STATE_KEYS,
) -> State:
    """Read published files, convert their weights, check that they fit the fuser, and write them with the prefix
    ``fuser.``.

    Args:
        sources: Published files, one for each network that the program keeps apart.
        target: File to write; it appears whole or not at all.
        config: Config with ``fuser`` that the result has to fit.
        what: What each file should be, for errors: ``'a checkpoint of TDFusion'``.
        convert: From the weights of each file by their published names, and the fuser (on the meta device), to weights
            by the names of the fuser; :func:`mmfusion.utils.conversion.rename` does most of it.
        modalities: What the fuser takes as its first and its second source, where that is known; stands in the file's
            meta.
        keys: Where the weights may stand in a file, in order of preference.

    Returns:
        dict: The weights as they are written.

    Raises:
        UserError: A file is missing, cut short, no checkpoint, would have to run pickled code, holds the weights of
            another method, or does not fit the config; the first keys that are missing, unexpected or of another shape
            are listed.
    """
    fuser = fuser_without_weights(config)
    states = [read_official(source, what, keys) for source in sources]
    with converting(*sources):
        weights = convert(states, fuser)
    return write_fuser(weights, fuser, sources, target, modalities)
