"""Operators in the form in which an exported graph has them, where torch's exporter writes another one."""

from typing import Callable, Dict

import torch

SQRT2 = 1.4142135623730951


def translations() -> Dict[Callable, Callable]:
    """Operators of torch, and how an export writes each of them.

    - GELU as a chain that onnxruntime knows and computes in one pass.
    - An enlargement by a given factor with that factor, so that its layout is known before the size is.
    - :func:`~mmfusion.models.layers.open_sizes.repeat_to_multiple` as one ``Pad``.
    - ``lerp`` with a given weight without the form for the other half of the weights.
    - The remainder after division by a size of the graph, which torch's exporter takes for a number.
    """
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops.core import aten_remainder

    def gelu(x, approximate: str = 'none'):
        if approximate == 'tanh':
            cube = op.Mul(x, op.Mul(x, x))
            inner = op.Mul(
                op.Add(x, op.Mul(cube, op.Constant(value_float=0.044715))),
                op.Constant(value_float=0.7978845608028654),
            )
            total = op.Add(op.Tanh(inner), op.Constant(value_float=1.0))
        else:
            total = op.Add(op.Erf(op.Div(x, op.Constant(value_float=SQRT2))), op.Constant(value_float=1.0))
        return op.Mul(op.Mul(x, total), op.Constant(value_float=0.5))

    def upsample_bilinear2d(x, output_size, align_corners: bool, scales_h=None, scales_w=None):
        mode = 'align_corners' if align_corners else 'half_pixel'
        if scales_h is not None and scales_w is not None and not align_corners:
            scales = op.Constant(value_floats=[1.0, 1.0, float(scales_h), float(scales_w)])
            return op.Resize(x, None, scales, mode='linear', coordinate_transformation_mode=mode)
        size = op.Concat(op.Shape(x, start=0, end=2), op.Cast(output_size, to=7), axis=0)
        return op.Resize(x, None, None, size, mode='linear', coordinate_transformation_mode=mode)

    def extend(x, multiple: int):
        missing = op.Mod(op.Neg(op.Shape(x, start=2, end=4)), op.Constant(value_ints=[multiple]))
        pads = op.Concat(op.Constant(value_ints=[0] * 6), missing, axis=0)
        return op.Pad(x, pads, mode='edge')

    def lerp(x, end, weight: float):
        if weight == 0.5:
            return op.Mul(op.Add(x, end), op.CastLike(op.Constant(value_float=weight), x))
        if weight < 0.5:
            return op.Add(x, op.Mul(op.Sub(end, x), op.CastLike(op.Constant(value_float=weight), x)))
        return op.Sub(end, op.Mul(op.Sub(end, x), op.CastLike(op.Constant(value_float=1 - weight), x)))

    def remainder(x, other):
        return aten_remainder(x, op.CastLike(other, x))

    return {
        torch.ops.aten.remainder.Scalar: remainder,
        torch.ops.aten.gelu.default: gelu,
        torch.ops.aten.lerp.Scalar: lerp,
        torch.ops.aten.upsample_bilinear2d.default: upsample_bilinear2d,
        torch.ops.mmfusion.extend.default: extend,
    }
