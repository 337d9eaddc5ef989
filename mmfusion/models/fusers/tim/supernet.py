"""The supernet of TIM's architecture search: every operation of a cell is a mixture of all candidates. The layout of
the search is ours.
"""

from functools import reduce
from typing import List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from mmfusion.models.fusers.base import BaseFuser, FuserOutput
from mmfusion.registry import MODELS

from .cells import HEAD_REACH, STEM_REACH, Head, Stem, build_cell
from .fuser import check_width
from .genotype import CELL_KINDS, Cell, Genotype
from .operations import SEARCH_SPACE, build_operation, operation_reach, parse_operation


class Architecture(nn.Module):
    """The upper variables of the search: one number per position and candidate, whose softmax over the candidates
    weighs them.

    Args:
        positions: Names of the positions, such as ``'cells.0.1'`` for the second operation of the first cell.
        candidates: Names of the operations.
    """

    def __init__(self, positions: Sequence[str], candidates: Sequence[str]) -> None:
        super().__init__()
        self.positions, self.candidates = tuple(positions), tuple(candidates)
        self.alpha = nn.Parameter(1e-3 * torch.randn(len(self.positions), len(self.candidates)))

    def probabilities(self) -> Tensor:
        """Weights (positions, candidates), rows sum up to 1."""
        return self.alpha.softmax(dim=1)

    def chosen(self) -> List[str]:
        """The candidate of largest weight for each position."""
        return [self.candidates[index] for index in self.alpha.detach().argmax(dim=1).tolist()]


class WeightedSum(torch.autograd.Function):
    """Sum of tensors under scalar weights, in one buffer; autograd's own would keep and pass over a product for
    each.
    """

    @staticmethod
    def forward(ctx, weights: Tensor, *values: Tensor) -> Tensor:
        """``weights`` (K,) and K tensors of one shape to a tensor of that shape."""
        ctx.save_for_backward(weights, *values)
        numbers = weights.tolist()
        total = values[0] * numbers[0]
        for number, value in zip(numbers[1:], values[1:]):
            total.add_(value, alpha=number)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor):
        """Inner products for the weights, multiples of ``grad`` for the tensors; differentiable in turn."""
        weights, *values = ctx.saved_tensors
        of_weights = None
        if ctx.needs_input_grad[0]:
            flat = grad.to(torch.promote_types(grad.dtype, torch.float32)).reshape(-1)
            of_weights = torch.stack([torch.dot(flat, value.to(flat.dtype).reshape(-1)) for value in values]).to(
                weights.dtype
            )
        return (
            of_weights,
            *(
                grad * weight.to(grad.dtype) if needed else None
                for weight, needed in zip(weights.unbind(), ctx.needs_input_grad[1:])
            ),
        )


class MixedOperation(nn.Module):
    """All candidates on one input, weighted by a row of the architecture, which stays outside: it is no weight of this
    module.

    Args:
        architecture: The upper variables.
        position: Name of the row.
        channels: Width C.
    """

    def __init__(self, architecture: Architecture, position: str, channels: int) -> None:
        super().__init__()
        self.candidates = nn.ModuleDict({name: build_operation(name, channels) for name in architecture.candidates})
        self.position = position
        self._row = architecture.positions.index(position)
        self._architecture = (architecture,)  # a tuple hides it from nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        values = [candidate(x) for candidate in self.candidates.values()]
        dtype = reduce(torch.promote_types, (value.dtype for value in values))  # autocast gives them different ones
        return WeightedSum.apply(
            self._architecture[0].probabilities()[self._row], *(value.to(dtype) for value in values)
        )


class SupernetTrunk(nn.Module):
    """The weights of the supernet: stem, cells of mixtures, head; (N, 2, H, W) to (N, 1, H, W)."""

    def __init__(self, cells: Sequence[Tuple[str, int]], architecture: Architecture, width: int) -> None:
        super().__init__()

        def mix(position: str, channels: int) -> MixedOperation:
            return MixedOperation(architecture, position, channels)

        self.stem = Stem(width)
        self.cells = nn.Sequential(
            *(
                build_cell(Cell(kind, tuple(f'cells.{index}.{step}' for step in range(length))), width, mix)
                for index, (kind, length) in enumerate(cells)
            )
        )
        self.head = Head(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2, H, W) to (N, 1, H, W)."""
        return self.head(self.cells(self.stem(x)))


@MODELS.register_module()
class SearchableTIM(BaseFuser):
    """``TIM`` whose operations are mixtures of all candidates: the supernet that ``SearchCoupling`` trains.

    The weights are in :attr:`network`, the architecture in :attr:`architecture`; :meth:`genotype` keeps the candidate
    of largest weight at every position, for ``TIM(genotype=...)`` to be trained from scratch. A position of a
    multiscale cell is one choice for its three scales.

    Args:
        cells: Kind of each cell and number of its operations, as ``dict(kind='chain', length=2)``; kinds are
            ``'chain'`` and ``'multiscale'``.
        candidates: Names of the operations to choose from; by default all that published genotypes contain.
        width: Width of the features.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: A cell, a candidate or the width is none, or a candidate is named twice.

    Examples:
        >>> fuser = SearchableTIM(candidates=('residual_3_1', 'eca_3'), width=4)
        >>> fuser.architecture.alpha.shape, fuser(torch.rand(1, 1, 16, 20), torch.rand(1, 1, 16, 20)).fused.shape
        (torch.Size([4, 2]), torch.Size([1, 1, 16, 20]))
        >>> [cell.kind for cell in fuser.genotype().cells]
        ['chain', 'chain']
    """

    color_space = 'luminance'

    def __init__(
        self,
        cells: Sequence[dict] = (dict(kind='chain', length=2), dict(kind='chain', length=2)),
        candidates: Sequence[str] = SEARCH_SPACE,
        width: int = 16,
        init_cfg: Optional[Union[dict, list]] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_width(width)
        if not cells:
            raise ValueError('SearchableTIM needs at least one cell in `cells`')
        for index, cell in enumerate(cells):
            if (
                set(cell) != {'kind', 'length'}
                or cell['kind'] not in CELL_KINDS
                or not isinstance(cell['length'], int)
                or cell['length'] < 1
            ):
                raise ValueError(
                    f'cell {index} must be dict(kind=..., length=...) with one of the kinds {", ".join(CELL_KINDS)} '
                    f'and a length of at least 1, got {cell}'
                )
        for name in candidates:
            parse_operation(name)
        if len(candidates) < 2 or len(set(candidates)) != len(candidates):
            raise ValueError(f'candidates must be at least two different operations, got {list(candidates)}')
        self.layout = tuple((cell['kind'], cell['length']) for cell in cells)
        reaches, steps = [operation_reach(name) for name in candidates], sum(length for _, length in self.layout)
        # scales of a multiscale cell are merged by their means over the image
        local = None not in reaches and all(kind == 'chain' for kind, _ in self.layout)
        self.reach = STEM_REACH + steps * max(reaches) + HEAD_REACH if local else None
        positions = [f'cells.{index}.{step}' for index, (_, length) in enumerate(self.layout) for step in range(length)]
        self.architecture = Architecture(positions, candidates)
        self.network = SupernetTrunk(self.layout, self.architecture, width)
        if any(kind == 'multiscale' for kind, _ in self.layout):
            self.size_multiple = 4

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse two luminance batches; see :meth:`BaseFuser.forward`."""
        return FuserOutput(self.network(torch.cat([first, second], dim=1)), {})

    def genotype(self, name: str = 'searched', note: str = '') -> Genotype:
        """The architecture found so far."""
        chosen = iter(self.architecture.chosen())
        return Genotype(
            name, tuple(Cell(kind, tuple(next(chosen) for _ in range(length))) for kind, length in self.layout), note
        )
