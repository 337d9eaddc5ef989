"""Running a local function of images strip by strip, so that its wide features stay in the cache, in every order of
derivative.

A channel-attention block is bound by memory: most of its time goes to writing hidden features of the whole image,
several times as wide as the image's own, to fresh memory and reading them back. Computed on strips of a few rows they
never leave the cache, nor are they kept for the backward pass, which computes them again, strip by strip too.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from typing import Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor
from torch.autograd import Function

from mmfusion.utils.compat import inside_functorch

#: Bytes of the widest features in a strip, for each thread; found by measuring on a core with 2 MB of cache.
STRIP_BYTES = 2 * 1024 * 1024

#: A batch that learns is cut when its widest features take more than this many times STRIP_BYTES: strips compute the
#: forward pass twice, which costs half the speed of a training step and saves memory, about eighteen times those
#: features.
TRAINING_STRIPS = 32

_whole: ContextVar[bool] = ContextVar('whole', default=False)

HALO, ROWS, IMAGE, SHARED = 'halo', 'rows', 'image', 'shared'


class Plan(NamedTuple):
    """A local function and how its arguments and results lie in the images.

    Attributes:
        function: ``function(above, below, *arguments)`` returns a tuple of tensors. ``above`` and ``below`` count the
            rows of the halo that its ``HALO`` arguments have over its ``ROWS``: 1, or 0 at the border of the image,
            where it must pad with zeros.
        arguments: Kind of each argument. ``HALO``: (N, C, H, W), rows of the strip and their neighbors; ``ROWS``: (N,
            C, H, W), rows of the strip; ``IMAGE``: (N, ...), what belongs to the image; ``SHARED``: the same for all
            (or None).
        results: Kind of each result. ``HALO`` results of strips overlap and are added, ``IMAGE`` results are summed
            over the strips of their image, ``SHARED`` ones over everything.
    """

    function: Callable[..., Sequence[Tensor]]
    arguments: Tuple[str, ...]
    results: Tuple[str, ...]


@contextmanager
def whole_images() -> Iterator[None]:
    """No strips inside: faster where the gradient itself will be differentiated, since nothing is computed twice, but
    takes far more memory.
    """
    token = _whole.set(True)
    try:
        yield
    finally:
        _whole.reset(token)


def differentiated_again() -> bool:
    """Whether the gradient of what is computed now will itself be differentiated, as said by :func:`whole_images`."""
    return _whole.get()


def map_strips(plan: Plan, *arguments: Optional[Tensor], width: int) -> Tuple[Tensor, ...]:
    """Results of ``plan.function`` on whole images, computed image by image and strip by strip where that is faster.

    Strips are cut on a CPU, for images that do not fit into one; with gradients only for large batches
    (:data:`TRAINING_STRIPS`). Elsewhere, under autocast, in :func:`whole_images` and while a graph is traced or
    transformed, the function is called once on everything. The numbers are the same up to rounding. Differentiable any
    number of times.

    Args:
        plan: The function and its kinds.
        arguments: As many tensors (or None) as ``plan.arguments``; those of rows are (N, C, H, W).
        width: Channels of the widest features inside the function, which set the height of a strip.

    Returns:
        tuple: One tensor for each of ``plan.results``.
    """
    rows = next(value for value, kind in zip(arguments, plan.arguments) if kind in (HALO, ROWS))
    budget = STRIP_BYTES * torch.get_num_threads()
    height = max(4, budget // (width * rows.shape[3] * rows.element_size()))
    if rows.device.type != 'cpu' or height >= rows.shape[2] or must_stay_whole():
        return tuple(plan.function(0, 0, *arguments))
    wide = rows.shape[0] * width * rows.shape[2:].numel() * rows.element_size()
    if wide <= TRAINING_STRIPS * STRIP_BYTES and _learns(arguments):
        return tuple(plan.function(0, 0, *arguments))
    return _call(plan, height, arguments)


def must_stay_whole() -> bool:
    """Whether a function has to be called once on everything: under autocast, and while a graph is traced or
    transformed.
    """
    return (
        _whole.get()
        or torch.is_autocast_enabled('cpu')
        or torch.jit.is_tracing()
        or torch.compiler.is_compiling()
        or inside_functorch()
    )


def _learns(arguments: Sequence[Optional[Tensor]]) -> bool:
    return torch.is_grad_enabled() and any(value is not None and value.requires_grad for value in arguments)


def _call(plan: Plan, height: int, arguments: Sequence[Optional[Tensor]]) -> Tuple[Tensor, ...]:
    if _learns(arguments):
        return _Strips.apply(plan, height, *arguments)
    return _run(plan, height, arguments)


class _Strips(Function):
    """The map as one node of the graph. The derivative of a local function is local, so its backward pass is a map
    again.
    """

    @staticmethod
    def forward(plan: Plan, height: int, *arguments: Optional[Tensor]) -> Tuple[Tensor, ...]:
        return _run(plan, height, arguments)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tuple[Tensor, ...]) -> None:
        ctx.plan, ctx.height = inputs[:2]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple:
        needed = [index for index, need in enumerate(ctx.needs_input_grad[2:]) if need]
        found = _call(_derivative(ctx.plan, needed), ctx.height, (*ctx.saved_tensors, *gradients))
        result: List[Optional[Tensor]] = [None] * len(ctx.needs_input_grad)
        for index, gradient in zip(needed, found):
            result[index + 2] = gradient
        return tuple(result)


def _derivative(plan: Plan, needed: Sequence[int]) -> Plan:
    """Plan of the vector-Jacobian product: arguments and gradients of the results in, gradients of the ``needed``
    arguments out.
    """
    count = len(plan.arguments)

    def product(above: int, below: int, *values: Optional[Tensor]) -> Sequence[Tensor]:
        create_graph = torch.is_grad_enabled()
        arguments, gradients = list(values[:count]), values[count:]
        for index in needed:
            if not (create_graph and arguments[index].requires_grad):
                arguments[index] = arguments[index].detach().requires_grad_()
        with torch.enable_grad():
            results = plan.function(above, below, *arguments)
        pairs = [(result, gradient) for result, gradient in zip(results, gradients) if result.requires_grad]
        return torch.autograd.grad(
            [result for result, _ in pairs],
            [arguments[index] for index in needed],
            [gradient for _, gradient in pairs],
            create_graph=create_graph,
            allow_unused=True,
            materialize_grads=True,
        )

    return Plan(product, (*plan.arguments, *plan.results), tuple(plan.arguments[index] for index in needed))


@torch.no_grad()
def _run(plan: Plan, height: int, arguments: Sequence[Optional[Tensor]]) -> Tuple[Tensor, ...]:
    """The loop over images and strips."""
    arguments = [
        value.contiguous(memory_format=torch.channels_last) if kind in (HALO, ROWS) else value
        for value, kind in zip(arguments, plan.arguments)
    ]
    number, _, rows, columns = next(
        value.shape for value, kind in zip(arguments, plan.arguments) if kind in (HALO, ROWS)
    )
    height = -(-rows // -(-rows // height))  # strips of about equal height
    totals: List[Optional[Tensor]] = [None] * len(plan.results)
    for image in range(number):
        for start in range(0, rows, height):
            stop = min(start + height, rows)
            above, below = min(start, 1), min(rows - stop, 1)
            places = {
                HALO: (slice(image, image + 1), slice(None), slice(start - above, stop + below)),
                ROWS: (slice(image, image + 1), slice(None), slice(start, stop)),
                IMAGE: (slice(image, image + 1),),
                SHARED: (slice(None),),
            }
            strip = (value if kind == SHARED else value[places[kind]] for value, kind in zip(arguments, plan.arguments))
            for index, (value, kind) in enumerate(zip(plan.function(above, below, *strip), plan.results)):
                if totals[index] is None:
                    totals[index] = _empty(value, kind, number, rows, columns)
                if kind == SHARED:
                    totals[index] += value
                elif kind == ROWS:
                    totals[index][places[kind]] = value
                else:
                    totals[index][places[kind]] += value
    return tuple(totals)


def _empty(value: Tensor, kind: str, number: int, rows: int, columns: int) -> Tensor:
    """Where the results of all strips go, for the result of the first one."""
    if kind == SHARED:
        return torch.zeros_like(value)
    if kind == IMAGE:
        return value.new_zeros(number, *value.shape[1:])
    make = torch.zeros if kind == HALO else torch.empty  # strips with a halo overlap
    return make(number, rows, columns, value.shape[1], dtype=value.dtype).permute(0, 3, 1, 2)
