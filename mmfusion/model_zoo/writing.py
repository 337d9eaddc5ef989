"""Writing a model: weights and card, whole or not at all."""

import hashlib
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Union

from torch import Tensor

from mmfusion.fileio.whole import write_bytes
from mmfusion.utils import UserError
from mmfusion.utils.conversion import misfits

from .architecture import NETWORK_KEY, build_fuser, count_parameters, describe_network
from .card import ModelCard, check_name


def write_model(
    folder: Union[str, Path],
    name: str,
    weights: Dict[str, Tensor],
    fuser: dict,
    sources: Sequence[str],
    license: str,
    summary: str = '',
    training: Optional[Dict[str, Any]] = None,
    figures: Optional[Dict[str, Any]] = None,
) -> ModelCard:
    """Write ``NAME.safetensors`` and its card.

    The card is written last: what was interrupted before has no card, and is refused.

    Args:
        folder: Where to write; made when missing.
        name: Name of the model.
        weights: State dict of the fuser.
        fuser: Its config.
        sources: Modalities that it takes, in its order.
        license: Terms of the weights.
        summary: One sentence.
        training: See :class:`ModelCard`.
        figures: See :class:`ModelCard`.

    Raises:
        UserError: The name is none, the weights do not fit the fuser, or hold NaN or infinite values.
        OSError: A file cannot be written.
    """
    from safetensors.torch import save

    check_name(name)
    network = build_fuser(fuser, f'model {name!r}')
    faults = misfits(weights, network) + [
        f'{key} holds NaN or infinite values' for key, value in weights.items() if not value.isfinite().all()
    ]
    if faults:
        raise UserError(f'the weights do not fit {fuser["type"]}:\n  ' + '\n  '.join(faults))
    own = network.state_dict()
    # cloned: safetensors refuses tensors that share memory
    tensors = {
        key: value.detach().to('cpu', own[key].dtype).contiguous().clone() for key, value in sorted(weights.items())
    }
    data = save(tensors, metadata={NETWORK_KEY: describe_network(fuser, sources)})
    card = ModelCard(
        name,
        summary,
        fuser,
        tuple(sources),
        count_parameters(network),
        len(data),
        hashlib.sha256(data).hexdigest(),
        license,
        training or {},
        figures or {},
        Path(folder),
    )
    write_bytes(card.weights_file, data)
    write_bytes(card.card_file, card.to_json().encode())
    return card
