"""Loading a model: every byte is checked against its card, and nothing in it can run code."""

import hashlib
from typing import Dict, NamedTuple

from torch import Tensor

from mmfusion.fileio.reading import parse_json, read_bytes, reason
from mmfusion.models.fusers import BaseFuser
from mmfusion.utils import UserError
from mmfusion.utils.conversion import misfits

from .architecture import NETWORK_KEY, build_fuser, count_parameters, describe_network
from .card import ModelCard, remedy
from .catalog import find_model

MAX_LISTED = 8
MAX_BYTES = 2**33  # the largest fuser, TC-MoA on the large autoencoder, takes 1.4 GB


class LoadedModel(NamedTuple):
    """A fuser with its weights, in eval mode on the CPU, and its card."""

    fuser: BaseFuser
    card: ModelCard


def load_model(name: str) -> LoadedModel:
    """Load a model by name.

    Args:
        name: Name of a shipped model, or of one that was added.

    Raises:
        UserError: There is no such model; card or weights are missing or damaged; or the weights do not fit the fuser
            of the card.

    Examples:
        >>> load_model('no-such-model')
        Traceback (most recent call last):
        ...
        mmfusion.utils.errors.UserError: there is no model 'no-such-model'; ...
    """
    card = find_model(name)
    weights = read_weights(card)
    where = f'model {card.name!r} ({card.card_file})'
    fuser = build_fuser(card.fuser, where)
    faults = misfits(weights, fuser)
    if count_parameters(fuser) != card.parameters:
        faults.append(
            f'the fuser of the card has {count_parameters(fuser)} parameters, the card says {card.parameters}'
        )
    faults += [
        f'{key} is {weights[key].dtype}, the fuser has {value.dtype}'
        for key, value in fuser.state_dict().items()
        if key in weights and weights[key].dtype != value.dtype
    ]
    faults += [f'{key} holds NaN or infinite values' for key, value in weights.items() if not value.isfinite().all()]
    if faults:
        more = f'\n  ... and {len(faults) - MAX_LISTED} more' if len(faults) > MAX_LISTED else ''
        raise UserError(
            f'{where}: the weights do not fit {card.fuser["type"]} as this version of mmfusion builds it:\n  '
            + '\n  '.join(faults[:MAX_LISTED])
            + f'{more}\n{remedy(card.card_file)}'
        )
    fuser.load_state_dict(weights)
    return LoadedModel(fuser.eval(), card)


def read_weights(card: ModelCard) -> Dict[str, Tensor]:
    """Weights of a model by name, after the checks that need no network.

    Raises:
        UserError: The file is missing, not as long as the card says, of another sha256, or made for another fuser.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    file, where = card.weights_file, f'model {card.name!r}'
    try:
        data = read_bytes(file, MAX_BYTES)  # once: what was checked is what is loaded
    except (OSError, ValueError) as error:
        raise UserError(
            f'{where}: the weights {file} cannot be read ({reason(error)}). {remedy(card.card_file)}'
        ) from error
    if len(data) != card.size:
        raise UserError(
            f'{where}: {file} has {len(data)} bytes, its card says {card.size}; the file is truncated or was replaced. '
            f'{remedy(card.card_file)}'
        )
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise UserError(
            f'{where}: {file} has the sha256 {found}, its card says {card.sha256}; the file is damaged or was '
            f'replaced. {remedy(card.card_file)}'
        )
    try:
        weights, metadata = load(data), read_metadata(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f'{where}: {file} is no safetensors file ({error}). {remedy(card.card_file)}') from error
    written_for, expected = metadata.get(NETWORK_KEY), describe_network(card.fuser, card.sources)
    if written_for != expected:
        raise UserError(
            f'{where}: {file} was written for {written_for}, its card says {expected}. {remedy(card.card_file)}'
        )
    return weights


def read_metadata(data: bytes) -> Dict[str, str]:
    """The texts in the head of a safetensors file: eight bytes with the length of the head, then the head as JSON.

    Raises:
        ValueError: The head is no JSON object.
    """
    head = parse_json(data[8 : 8 + int.from_bytes(data[:8], 'little')])
    if not isinstance(head, dict):
        raise ValueError('its header is no JSON object')
    return head.get('__metadata__', {})
