"""Intermediate results of TC-MoA: prompts, token streams, raw image."""

from typing import NamedTuple, Optional

from torch import Tensor

PROMPT_SHARES = (0.75, 0.25)  # encoder, decoder


class Prompts(NamedTuple):
    """How much each source counts in every place, in [0, 1].

    Attributes:
        encoder: (adapters, 2, N, H', W') of the encoder, first and second source, on the token map.
        decoder: The same of the decoder.
    """

    encoder: Tensor
    decoder: Tensor


class Details(NamedTuple):
    """Everything one pass of the network finds.

    Attributes:
        raw: (N, 3, H, W) decoded image of normalized color at the size of the network, doubled where it upsamples; None
            unless it was asked for.
        fused: (N, 3, H, W), nominal [0, 1].
        latents: (2, N, H', W', C) both token streams after the encoder; None unless ``raw`` was asked for.
        prompts: Prompts of all adapters.
        balance: Sum of the load-balance terms of all adapters, not weighted; None in eval mode.
    """

    raw: Optional[Tensor]
    fused: Tensor
    latents: Optional[Tensor]
    prompts: Prompts
    balance: Optional[Tensor]


def prompt_loss(prompts: Prompts) -> Tensor:
    """Mutual information regularization: the prompts of both sources should sum to 1; three quarters of it for those of
    the encoder.
    """
    return sum(share * (part.sum(1) - 1).square().mean() for share, part in zip(PROMPT_SHARES, prompts))
