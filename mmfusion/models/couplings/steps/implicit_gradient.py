r"""Gradient of a bilevel problem, with the lower problem's curvature known only through its gradient.

An upper loss :math:`F(w, a)` is minimized over :math:`a` while the weights are tied to a lower problem,
:math:`w^*(a) \in \arg\min_w f(w, a)`. The implicit function theorem gives :math:`dF/da = F_a - f_{aw} f_{ww}^{-1} F_w`.
With the Gauss-Newton matrices of rank one, :math:`f_{ww} \approx f_w f_w^T` and :math:`f_{aw} \approx f_a f_w^T`, this
becomes

.. math::
    \frac{dF}{da} \approx F_a - c f_a, \qquad c = \frac{\langle F_w, f_w \rangle}{\langle f_w, f_w \rangle + 10^{-12}}

No second derivative is needed and no unrolled copy of the network. It is exact where the lower loss is the square of
one linear residual.

R. Liu, Z. Liu, J. Liu, X. Fan, Z. Luo, "A task-guided, implicitly-searched and meta-initialized deep model for image
fusion", IEEE TPAMI 2024 (arXiv 2305.15862), searches architectures with it. Written from the formula; no official code.
"""

from typing import List, NamedTuple, Optional, Sequence

import torch
from torch import Tensor

EPS = 1e-12
Gradients = Sequence[Optional[Tensor]]


class ImplicitGradient(NamedTuple):
    """What :func:`implicit_gradient` returns, all detached.

    Attributes:
        values: Gradient for each upper variable, None where neither loss depends on it.
        coefficient: The number c.
        upper_weights: Gradient of the upper loss for each weight.
        lower_weights: Gradient of the lower loss for each weight, which a step of the weights can use.
    """

    values: List[Optional[Tensor]]
    coefficient: Tensor
    upper_weights: List[Optional[Tensor]]
    lower_weights: List[Optional[Tensor]]


def inner_product(first: Gradients, second: Gradients) -> Tensor:
    """Sum of all products of entries, None counting as zero; float32 at least.

    Raises:
        ValueError: Not one pair of gradients is there.

    Examples:
        >>> inner_product([torch.ones(2), None], [torch.full((2, ), 3.), torch.ones(1)])
        tensor(6.)
    """
    pairs = list(zip(first, second))
    products = [
        torch.dot(a.reshape(-1), b.reshape(-1))
        if a.dtype.itemsize >= 4
        else torch.dot(a.float().reshape(-1), b.float().reshape(-1))
        for a, b in pairs
        if a is not None and b is not None
    ]
    if products:
        return torch.stack(products).sum()
    known = [x for pair in pairs for x in pair if x is not None]
    if not known:
        raise ValueError('no weight has a gradient: neither loss depends on the weights')
    return torch.zeros((), device=known[0].device, dtype=known[0].dtype)


def projection_coefficient(upper: Gradients, lower: Gradients) -> Tensor:
    """The number c: how much of the lower gradient is in the upper one; both with respect to the weights.

    Examples:
        >>> round(projection_coefficient([torch.tensor([3., 4.])], [torch.tensor([2., 0.])]).item(), 4)
        1.5
    """
    return inner_product(upper, lower) / (inner_product(lower, lower) + EPS)


def subtract_scaled(upper: Gradients, coefficient: Tensor, lower: Gradients) -> List[Optional[Tensor]]:
    """``upper - coefficient * lower`` entry by entry, None counting as zero; None where both are.

    Examples:
        >>> subtract_scaled([torch.ones(1), None, None], torch.tensor(2.), [None, torch.ones(1), None])
        [tensor([1.]), tensor([-2.]), None]
    """
    result: List[Optional[Tensor]] = []
    for a, b in zip(upper, lower):
        if b is None:
            result.append(a)
        else:
            part = coefficient.to(b.dtype) * b
            result.append(-part if a is None else a - part)
    return result


def combine(
    upper: Gradients, lower: Gradients, coefficient: Tensor, legacy_sign: bool = False, legacy_eta: float = 1.0
) -> List[Optional[Tensor]]:
    """:math:`F_a - c f_a` from known gradients; with ``legacy_sign`` :math:`F_a + \\eta c f_a`, as the published
    program computes it.

    Examples:
        >>> F_a, f_a, c = [torch.tensor([1., 0.])], [torch.tensor([2., 2.])], torch.tensor(0.5)
        >>> combine(F_a, f_a, c)
        [tensor([ 0., -1.])]
        >>> combine(F_a, f_a, c, legacy_sign=True, legacy_eta=0.1)
        [tensor([1.1000, 0.1000])]
    """
    return subtract_scaled(upper, -legacy_eta * coefficient if legacy_sign else coefficient, lower)


def implicit_gradient(
    upper_loss: Tensor,
    lower_loss: Tensor,
    weights: Sequence[Tensor],
    variables: Sequence[Tensor],
    legacy_sign: bool = False,
    legacy_eta: float = 1.0,
    retain_graph: bool = False,
) -> ImplicitGradient:
    """Gradient of the upper loss for the upper variables, the answer of the weights included. No ``.grad`` is read or
    written.

    Args:
        upper_loss: Scalar F.
        lower_loss: Scalar f.
        weights: Variables w of the lower problem.
        variables: Upper variables a.
        legacy_sign: Reproduce the sign of the published program, which adds the implicit term.
        legacy_eta: Factor of that term there, the learning rate of the weights.
        retain_graph: Keep the graphs of the losses for further derivatives.

    Raises:
        ValueError: A loss is no scalar, there are no weights or variables, or the losses do not depend on the weights.

    Examples:
        >>> w, a = torch.tensor([1.], requires_grad=True), torch.tensor([3.], requires_grad=True)
        >>> lower, upper = ((w - 2 * a)**2).sum(), w.square().sum()  # w* = 2 a, so F = 4 a^2 once the weights have followed
        >>> result = implicit_gradient(upper, lower, [w], [a])
        >>> result.values, w.grad is None and a.grad is None  # F_w dw*/da = 2 * 2
        ([tensor([4.])], True)
    """
    for name, loss in (('upper_loss', upper_loss), ('lower_loss', lower_loss)):
        if loss.numel() != 1:
            raise ValueError(f'implicit_gradient: {name} must be a scalar, got the shape {tuple(loss.shape)}')
    weights, variables = list(weights), list(variables)
    if not weights or not variables:
        raise ValueError('implicit_gradient: give at least one weight and one upper variable')
    both = [*weights, *variables]
    # The losses may share a graph, so the first pass has to leave it standing.
    lower = torch.autograd.grad(lower_loss, both, allow_unused=True, retain_graph=True)
    upper = torch.autograd.grad(upper_loss, both, allow_unused=True, retain_graph=retain_graph)
    number = len(weights)
    coefficient = projection_coefficient(upper[:number], lower[:number])
    values = combine(upper[number:], lower[number:], coefficient, legacy_sign, legacy_eta)
    return ImplicitGradient(values, coefficient, list(upper[:number]), list(lower[:number]))
