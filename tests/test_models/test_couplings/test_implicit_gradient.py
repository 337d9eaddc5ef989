"""The implicit gradient against exact bilevel gradients, and what the published sign does."""

import pytest
import torch
from torch.autograd.functional import jacobian

from mmfusion.models.couplings.steps.implicit_gradient import implicit_gradient, inner_product

DOUBLE = torch.double


def leaf(*shape):
    return torch.randn(*shape, dtype=DOUBLE).requires_grad_()


def exact(upper, lower, weights, variables):
    """F_a - f_aw f_ww^+ F_w, with all second derivatives written out: the slow twin."""
    sizes = [w.numel() for w in weights]

    def split(flat):
        return [part.view_as(w) for part, w in zip(flat.split(sizes), weights)]

    flat = torch.cat([w.detach().reshape(-1) for w in weights])
    a = variables[0].detach()
    hessian = jacobian(lambda w: jacobian(lambda v: lower(split(v), a), w, create_graph=True), flat)
    mixed = jacobian(lambda b: jacobian(lambda v: lower(split(v), b), flat, create_graph=True), a).reshape(
        flat.numel(), -1
    )  # (w, a)
    upper_w = jacobian(lambda v: upper(split(v), a), flat)
    upper_a = jacobian(lambda b: upper(split(flat), b), a)
    return upper_a - (mixed.T @ torch.linalg.pinv(hessian, rtol=1e-9) @ upper_w).view_as(a)


def test_exact_for_one_linear_residual():
    """f = r^2 / 2 with r linear: the rank-one matrices are the true ones, and the weights answer by the shortest way to
    r = 0.
    """
    w, v, a = leaf(3), leaf(2, 2), leaf(4)
    p, q, s = torch.randn(3, dtype=DOUBLE), torch.randn(2, 2, dtype=DOUBLE), torch.randn(4, dtype=DOUBLE)

    def lower(weights, a):
        return ((weights[0] * p).sum() + (weights[1] * q).sum() - (a * s).sum() + 0.3) ** 2 / 2

    def upper(weights, a):
        return (weights[0] ** 3).sum() + weights[1].sin().sum() + (a**2).sum() * weights[0][0]

    found = implicit_gradient(upper([w, v], a), lower([w, v], a), [w, v], [a])
    torch.testing.assert_close(found.values[0], exact(upper, lower, [w, v], [a]), rtol=1e-8, atol=1e-9)


def test_one_weight_has_the_total_derivative_near_the_lower_optimum():
    """With one weight the matrices are numbers, so the estimate tends to d/da F(w*(a), a), here in closed form and by
    finite differences.
    """
    a = torch.tensor([0.7, -0.4], dtype=DOUBLE, requires_grad=True)
    b = torch.tensor([1.5, -2.0], dtype=DOUBLE)

    def solution(a):
        return (a * b).sum() / 3

    def upper(w, a):
        return (w - 2) ** 2 + (a * a).sum() * w

    (total,) = torch.autograd.grad(upper(solution(a), a), a)
    step = torch.eye(2, dtype=DOUBLE) * 1e-6
    differences = torch.stack(
        [(upper(solution(a + h), a + h) - upper(solution(a - h), a - h)) / 2e-6 for h in step]
    ).detach()
    w = (solution(a) + 1e-4).detach().requires_grad_()  # at the optimum itself f_w = 0 and the answer is unknown
    found = implicit_gradient(upper(w, a), 1.5 * (w - solution(a)) ** 2, [w], [a])
    torch.testing.assert_close(found.values[0], total, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(total, differences, rtol=1e-6, atol=1e-6)
    assert found.coefficient.abs() > 1  # the implicit term is what is compared: F_a alone is far away
    assert not torch.allclose(torch.autograd.grad(upper(w, a), a)[0], total, rtol=0.1)


def test_direction_agrees_where_it_is_not_exact():
    """Several residuals: one estimate sees one direction of the curvature, the mean over many has the exact
    direction.
    """
    torch.manual_seed(1)
    size = 6
    matrix, target, a = torch.randn(size, 4, dtype=DOUBLE), torch.randn(size, dtype=DOUBLE), leaf(4)
    estimates, agree = [], 0
    wanted = matrix.T @ (matrix @ a.detach() - target)  # F = |w* - target|^2 / 2 with w* = matrix a
    for _ in range(400):
        w = (matrix @ a.detach() + 1e-4 * torch.randn(size, dtype=DOUBLE)).requires_grad_()
        upper, lower = ((w - target) ** 2).sum() / 2, ((w - matrix @ a) ** 2).sum() / 2
        estimates.append(implicit_gradient(upper, lower, [w], [a]).values[0])
        agree += int((estimates[-1] @ wanted) > 0)
    mean = torch.stack(estimates).mean(0)
    assert torch.nn.functional.cosine_similarity(mean, wanted, dim=0) > 0.98
    assert agree > 0.7 * 400


@pytest.mark.parametrize('legacy, wins', [(False, True), (True, False)])
def test_the_sign_decides_between_descent_and_ascent(legacy, wins):
    """w follows a; F sees w alone. The published sign moves a away from the target."""
    a, w = torch.tensor([0.5], dtype=DOUBLE, requires_grad=True), torch.tensor([0.4], dtype=DOUBLE, requires_grad=True)
    for _ in range(60):
        result = implicit_gradient((w - 3) ** 2, (w - a) ** 2, [w], [a], legacy_sign=legacy)
        with torch.no_grad():
            a -= 0.05 * result.values[0]
            w -= 0.4 * result.lower_weights[0]
    error = (a.item() - 3) ** 2
    assert error < 0.01 if wins else error > 6.25


def test_values_by_hand_and_both_signs():
    w, a = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    upper = (w * torch.tensor([2.0, 0.0])).sum() + 5 * a.sum()  # F_w = (2, 0), F_a = 5
    lower = (w * torch.tensor([1.0, 1.0])).sum() + 3 * a.sum()  # f_w = (1, 1), f_a = 3, c = 1
    assert implicit_gradient(upper, lower, [w], [a], retain_graph=True).values[0].item() == pytest.approx(2.0)
    assert implicit_gradient(upper, lower, [w], [a], True, 0.1, retain_graph=True).values[0].item() == pytest.approx(
        5.3
    )


def test_nothing_is_accumulated_and_calls_repeat():
    w, a, other = leaf(3), leaf(2), leaf(1)
    w.grad = torch.full((3,), 7.0, dtype=DOUBLE)
    upper, lower = (w**2).sum() * a.sum(), ((w - a.sum()) ** 2).sum()
    first = implicit_gradient(upper, lower, [w], [a, other], retain_graph=True)
    second = implicit_gradient(upper, lower, [w], [a, other])
    assert torch.equal(w.grad, torch.full((3,), 7.0, dtype=DOUBLE)) and a.grad is None
    assert torch.equal(first.values[0], second.values[0]) and first.values[1] is None
    assert not any(
        value.requires_grad
        for value in [*first.lower_weights, *first.upper_weights, first.values[0], first.coefficient]
    )


def test_vanishing_lower_gradient_leaves_the_direct_part():
    w, a = torch.tensor([1.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    result = implicit_gradient(w.sum() + 2 * a.sum(), (0 * w).sum() + 0 * a.sum(), [w], [a])
    assert result.coefficient.item() == 0 and result.values[0].item() == 2


def test_bad_input():
    w, a = leaf(2), leaf(1)
    with pytest.raises(ValueError, match='upper_loss must be a scalar'):
        implicit_gradient(w, w.sum(), [w], [a])
    with pytest.raises(ValueError, match='at least one weight'):
        implicit_gradient(w.sum(), w.sum(), [w], [])
    with pytest.raises(ValueError, match='no weight has a gradient'):
        inner_product([None], [None])
