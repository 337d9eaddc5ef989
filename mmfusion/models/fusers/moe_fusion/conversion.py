"""Bring a checkpoint of the official MoE-Fusion code over to :class:`MoEFusion` and to a :class:`TwoStreamGuide`.

Only names and orders change, never values. Both converters are strict: a missing or unexpected key is an error that lists it.
"""
import re
from typing import Callable, Dict, Iterable, List, Optional, Tuple

from torch import Tensor

State = Dict[str, Tensor]
Rule = Tuple[str, str]

SIDES = {'r': 'first', 'i': 'second'}  # visible and infrared
GATES = {'encoder.moe_fg': 'foreground', 'encoder.moe_bg': 'background', 'DecoderMoE': 'global'}


def _rename(key: str, rules: Iterable[Rule]) -> Optional[str]:
    for pattern, replacement in rules:
        if re.fullmatch(pattern, key):
            return re.sub(pattern, replacement, key)
    return None


def _fusion_head_rules() -> List[Rule]:
    rules = []
    layers = {'Conv1': 'stem', 'DenseConv1': 'dense1', 'DenseConv2': 'dense2', 'DenseConv3': 'dense3'}
    for side, name in SIDES.items():
        rules += [(rf'encoder\.{old}\.conv_{side}\.(weight|bias)', rf'encoder_{name}.{new}.\1') for old, new in layers.items()]
    for old, new in GATES.items():
        old = re.escape(old)
        rules += [(rf'{old}\.w_gate', f'{new}_gate.weight'), (rf'{old}\.w_noise', f'{new}_gate.noise_weight')]
        rules += [(rf'{old}\.experts\.(\d+)\.conv{n}\.(weight|bias)', rf'{new}_experts.\1.{2 * n - 2}.\2') for n in (1, 2)]
        rules += [(rf'{old}\.experts\.(\d+)\.decoder_Conv{n}\.(weight|bias)', rf'{new}_experts.\1.{2 * n - 4}.\2') for n in (2, 3, 4, 5)]
    return rules


def convert_fusion_head(state: State) -> State:
    """Rename the fusion head's weights (keys without the prefix ``fusion_head.``) for :class:`MoEFusion`.

    The constant buffers ``mean`` and ``std`` of the gates are dropped.

    Raises:
        KeyError: Keys that do not belong to a fusion head.
    """
    rules = _fusion_head_rules()
    kept = {key: value for key, value in state.items() if not re.fullmatch(r'(encoder\.moe_(fg|bg)|DecoderMoE)\.(mean|std)', key)}
    return _apply(kept, lambda key: _rename(key, rules), 'the MoE-Fusion head')


def _apply(state: State, rename: Callable[[str], Optional[str]], what: str) -> State:
    converted, unknown = {}, []
    for key, value in state.items():
        name = rename(key)
        if name is None:
            unknown.append(key)
        else:
            converted[name] = value
    if unknown:
        raise KeyError(f'unexpected keys, not part of {what}: {", ".join(sorted(unknown))}')
    return converted
