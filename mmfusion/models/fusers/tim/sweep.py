"""Running a chain of local functions over an image in strips of rows, for inference.

Most time of a plain forward pass goes to memory: each of some forty layers writes features of the whole image to fresh memory and reads them back.
A strip of a few rows goes through several layers while it is in the cache. Rows that the next layer needs around its strip (its halo) are computed
twice. Unlike :mod:`mmfusion.models.layers.strips` this knows halos of any size and no gradients.
"""
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

#: Bytes of a strip's widest features, for each thread; found by measuring on cores with 2 MB of cache.
STRIP_BYTES = 8 * 1024 * 1024
MAX_HALO = 8  # rows that a sweep may compute twice at each side
MAX_HEAVY_HALO = 2  # the same for full convolutions


class Local(NamedTuple):
    """A layer that sees the rows around each row.

    Attributes:
        halo: Rows of input that it needs above and below its output.
        run: ``run(x, ..., top, bottom)``: rows (1, C, h, W) to rows, as many as there are between the halos. Where ``top`` (``bottom``) is true,
            the rows begin (end) with the image, so it pads instead and there is no halo. It must leave its inputs as they are.
        heavy: It is so expensive that its rows should not be computed twice.
    """

    halo: int
    run: Callable[..., Tensor]
    heavy: bool = False


class Scored(NamedTuple):
    """A layer that depends on the mean of each channel of its input, (1, C): ``given(mean)`` is a :class:`Local`."""

    given: Callable[[Tensor], Local]


class Whole(NamedTuple):
    """A layer that needs the whole image: ``run(x)``; it may change its input."""

    run: Callable[[Tensor], Tensor]


Step = Union[Local, Scored, Whole]


def run_steps(steps: Sequence[Step], *inputs: Tensor, width: int) -> Tensor:
    """Run steps on images; the numbers are those of the layers on the whole images, up to rounding.

    Args:
        steps: The first one takes as many tensors as there are ``inputs``, all others one.
        inputs: (N, C, H, W) each, of equal N, H and W.
        width: Channels of the widest features in a sweep, which set the height of the strips.

    Returns:
        Tensor: (N, C', H, W).
    """
    results = []
    for image in range(inputs[0].shape[0]):
        x: Tuple[Tensor, ...] = tuple(value[image:image + 1].contiguous(memory_format=torch.channels_last) for value in inputs)
        mean: Optional[Tensor] = None
        index = 0
        while index < len(steps):
            step = steps[index]
            if isinstance(step, Whole):
                x, mean, index = (step.run(*x), ), None, index + 1
                continue
            if isinstance(step, Scored):
                step = step.given(x[0].mean((2, 3)) if mean is None else mean)
            group, index = _group(step, steps, index + 1)
            scored = index < len(steps) and isinstance(steps[index], Scored)
            result, mean = sweep(group, x, width, with_mean=scored)
            x = (result, )
        results.append(x[0])
    return results[0] if len(results) == 1 else torch.cat(results)


def _group(first: Local, steps: Sequence[Step], index: int) -> Tuple[List[Local], int]:
    """The steps from ``first`` on that one sweep takes, and the index of the next one."""
    group, halo, heavy = [first], first.halo, 0 if first.heavy else None
    while index < len(steps) and isinstance(steps[index], Local):
        step = steps[index]
        halo += step.halo
        if heavy is not None:
            heavy += step.halo
        elif step.heavy:
            heavy = 0
        if halo > MAX_HALO or (heavy or 0) > MAX_HEAVY_HALO:
            break
        group.append(step)
        index += 1
    return group, index


def sweep(steps: Sequence[Local], inputs: Sequence[Tensor], width: int, with_mean: bool = False,
          scale: float = 1) -> Tuple[Tensor, Optional[Tensor]]:
    """Run local steps on one image, strip by strip.

    Args:
        steps: Local steps; only the first one takes more than one tensor.
        inputs: (1, C, H, W) each.
        width: As in :func:`run_steps`.
        with_mean: Compute the mean of each channel of the result too.
        scale: Height of the result over H: 1, or 2 or 0.5 for a single step that enlarges or reduces. Halos are in rows of the inputs.

    Returns:
        tuple: (1, C', scale H, scale W), and the mean (1, C') or None.
    """
    height, columns = inputs[0].shape[2:]
    total = int(height * scale)
    halo = sum(step.halo for step in steps)
    budget = STRIP_BYTES * torch.get_num_threads()
    rows = max(8, int(budget * scale) // (width * columns * inputs[0].element_size()))
    count = -(-total // rows)
    rows = -(-total // (2 * count)) * 2  # strips of about equal, even height
    out: Optional[Tensor] = None
    sums: Optional[Tensor] = None
    for start in range(0, total, rows):
        stop = min(start + rows, total)
        begin, end = int(start / scale) - halo, int(stop / scale) + halo
        top, bottom = begin <= 0, end >= height
        strip: Tuple[Tensor, ...] = tuple(value[:, :, max(begin, 0):end] for value in inputs)
        for step in steps:
            strip = (step.run(*strip, top, bottom), )
        skip = start if top else 0
        result = strip[0][:, :, skip:skip + stop - start]
        if rows >= total:
            out = result
        elif out is None:
            out = result.new_empty(1, total, result.shape[3], result.shape[1]).permute(0, 3, 1, 2)
        if rows < total:
            out[:, :, start:stop] = result
        if with_mean:
            part = result.sum((2, 3))
            sums = part if sums is None else sums + part
    return out, None if sums is None else sums / (total * out.shape[3])
