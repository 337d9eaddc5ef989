"""A slow, readable twin of TC-MoA: the published network as its formulas stand.

It works on a plain dict of tensors under the names of the official checkpoints and needs nothing of the package: one
stream after the other, softmax attention written out, experts dispatched to the tokens that chose them, exp and log as
they stand, both streams to the end.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F

EPS = 2.220446049250313e-16  # what the formula puts for a zero before its log
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONFIG = dict(
    embed_dim=768,
    depth=12,
    num_heads=12,
    decoder_embed_dim=512,
    decoder_depth=8,
    decoder_num_heads=16,
    mlp_ratio=4,
    interval_tau=4,
    tau_shift_value=2,
    task_num=3,
    shift_window_size=14,
    upsample=True,
)
PATCH = 16


def adapter_places(depth, config):
    """Blocks that an adapter follows, in order."""
    tau = config['interval_tau']
    return [i for i in range(depth) if (i + config['tau_shift_value']) % tau == tau - 1]


# ---- windows and positions


def relative_index(window):
    """(w * w, w * w) row of the bias table for every pair of tokens of a window."""
    place = [(y, x) for y in range(window) for x in range(window)]
    return torch.tensor(
        [[(y - v + window - 1) * (2 * window - 1) + (x - u + window - 1) for v, u in place] for y, x in place]
    )


def resized_positions(table, height, width, position):
    """(H * W, C) of a (1, 1 + G * G, C) table whose row 0 is that of the class token."""
    grid = math.isqrt(table.shape[1] - 1)
    image = table[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)  # (1, C, G, G)
    size = dict(corrected=(height, width), published=(width, height))[
        position
    ]  # published: sides exchanged, read row by row all the same
    return (
        F.interpolate(image, size=size, mode='bilinear', align_corners=False)
        .permute(0, 2, 3, 1)
        .reshape(height * width, -1)
    )


def _wrapped(height, width, window):
    """(H * W / w * w, w * w) which side of the border each token of the rolled map is from, as 4 labels; in windows."""
    shift = window // 2
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    labels = (y + shift >= height) * 2 + (x + shift >= width) * 1
    return (
        labels.reshape(height // window, window, width // window, window)
        .permute(0, 2, 1, 3)
        .reshape(-1, window * window)
    )


def _attention(p, name, x, heads, bias, mask=None):
    """Tokens (M, L, C) of windows; bias (heads, L, L); mask (M, L, L), true where attention is allowed."""
    m, n, c = x.shape
    q, k, v = (
        F.linear(x, p[f'{name}.qkv.weight'], p[f'{name}.qkv.bias'])
        .reshape(m, n, 3, heads, c // heads)
        .permute(2, 0, 3, 1, 4)
    )
    logits = q @ k.transpose(-2, -1) / math.sqrt(c / heads) + bias
    if mask is not None:
        logits = logits.masked_fill(~mask[:, None], -math.inf)
    y = (logits.softmax(-1) @ v).transpose(1, 2).reshape(m, n, c)
    return F.linear(y, p[f'{name}.proj.weight'], p[f'{name}.proj.bias'])


def _norm(p, name, x, eps=1e-6):
    return F.layer_norm(x, x.shape[-1:], p[f'{name}.weight'], p[f'{name}.bias'], eps)


def block(p, name, x, grid, heads, bias, window, rolled, mask_shifted=False):
    """One transformer block on tokens (B, N, C)."""
    (height, width), (b, n, c) = grid, x.shape
    y = _norm(p, f'{name}.norm1', x).reshape(b, height, width, c)
    if rolled:
        y = torch.roll(y, (-(window // 2), -(window // 2)), (1, 2))
    y = (
        y.reshape(b, height // window, window, width // window, window, c)
        .permute(0, 1, 3, 2, 4, 5)
        .reshape(-1, window * window, c)
    )
    mask = None
    if rolled and mask_shifted:
        labels = _wrapped(height, width, window).repeat(b, 1)
        mask = labels[:, :, None] == labels[:, None, :]
    y = _attention(p, f'{name}.attn', y, heads, bias, mask)
    y = (
        y.reshape(b, height // window, width // window, window, window, c)
        .permute(0, 1, 3, 2, 4, 5)
        .reshape(b, height, width, c)
    )
    if rolled:
        y = torch.roll(y, (window // 2, window // 2), (1, 2))
    x = x + y.reshape(b, n, c)
    y = F.gelu(F.linear(_norm(p, f'{name}.norm2', x), p[f'{name}.mlp.fc1.weight'], p[f'{name}.mlp.fc1.bias']))
    return x + F.linear(y, p[f'{name}.mlp.fc2.weight'], p[f'{name}.mlp.fc2.bias'])


# ---- adapters


def route(clean, deviation=None, noise=None, top_k=2):
    """Gates (M, E) and load (E,) of every row; ``deviation`` and ``noise`` (M, E) in training, None without noise."""
    logits = clean if deviation is None else clean + noise * deviation
    best = logits.topk(top_k + 1, dim=1).values
    chosen = logits.topk(top_k, dim=1).indices
    gates = torch.zeros_like(logits).scatter(1, chosen, logits.gather(1, chosen).softmax(1))
    if deviation is None:
        return gates, (gates > 0).sum(0)
    last_in, first_out = best[:, top_k - 1 : top_k], best[:, top_k:]
    rival = torch.where(logits > first_out, first_out, last_in)
    normal = torch.distributions.Normal(clean.new_tensor(0.0), clean.new_tensor(1.0))
    return gates, normal.cdf((clean - rival) / deviation).sum(0)


def dispatch(p, name, phi, gates, combine='logsumexp'):
    """log sum_e g_e exp(E_e(phi)) or, linear, sum_e g_e E_e(phi), for rows (M, D): an expert sees the rows that chose
    it with more than 1e-4.
    """
    total = torch.zeros_like(phi)
    for e in range(gates.shape[1]):
        rows = (gates[:, e] > 1e-4).nonzero().squeeze(1)
        expert = f'{name}.experts.{e}'
        y = F.relu(F.linear(phi[rows], p[f'{expert}.fc1.weight'], p[f'{expert}.fc1.bias']))
        y = F.linear(y, p[f'{expert}.fc2.weight'], p[f'{expert}.fc2.bias'])
        total = total.index_add(0, rows, gates[rows, e, None] * (y if combine == 'linear' else y.exp()))
    return total if combine == 'linear' else torch.where(total == 0, torch.full_like(total, EPS), total).log()


def _noise(like, grid, window):
    """Normal numbers (B * N, E), drawn for the tokens of an image window by window and given row by row."""
    (height, width), experts = grid, like.shape[1]
    drawn = torch.randn_like(like).reshape(-1, height // window, width // window, window, window, experts)
    return drawn.permute(0, 1, 3, 2, 4, 5).reshape(-1, experts)


def _cv2(v):
    v = v.to(torch.promote_types(v.dtype, torch.float32))  # counts are integers
    return v.var(unbiased=True) / (v.mean() ** 2 + 1e-10)


def adapter(p, name, x, t, task, shifts, draw=None, combine='logsumexp'):
    """Both streams (B, N, C) to h_x, h_t, prompts (B, N, 1) each, and what the balance needs; ``draw(like)`` gives
    noise.
    """
    b, n, c = x.shape
    y = _norm(p, f'{name}.norm1', torch.cat([x, t], dim=2), 1e-5)
    phi = _norm(p, f'{name}.norm2', F.linear(y, p[f'{name}.dimReduction.weight']), 1e-5).reshape(b * n, c // 4)
    clean = phi @ p[f'{name}.MoA.w_gate'][task]
    deviation = F.softplus(phi @ p[f'{name}.MoA.w_noise'][task]) + 0.1 if draw else None
    gates, load = route(clean, deviation, draw(clean) if draw else None)
    halves = dispatch(p, f'{name}.MoA', phi, gates, combine).reshape(b, n, c // 4).split(c // 8, dim=2)
    prompts = [
        half.sigmoid().mean(2, keepdim=True) if combine == 'linear' else half.mean(2, keepdim=True).sigmoid()
        for half in halves
    ]
    h = [prompt * stream + shift for prompt, stream, shift in zip(prompts, (x, t), shifts)]
    return h, prompts, dict(importance=gates.sum(0), load=load)


def fusion_layer(p, name, h, grid):
    """Tokens (B, N, C) through three convolutions on the map."""
    b, n, c = h.shape
    y = h.transpose(1, 2).reshape(b, c, *grid)
    y = F.conv2d(y, p[f'{name}.conv1.weight'])
    y = F.conv2d(y, p[f'{name}.conv2.weight'], padding=1)
    return F.conv2d(y, p[f'{name}.conv3.weight']).flatten(2).transpose(1, 2)


def _with_statistics_of(y, x):
    """y with the mean and deviation that x has over tokens and channels of each sample."""

    def statistics(z):
        z = z.flatten(1)
        return z.mean(1)[:, None, None], z.std(1)[:, None, None]

    (mean_y, std_y), (mean_x, std_x) = statistics(y), statistics(x)
    return (y - mean_y) / (std_y + 1e-12) * std_x + mean_x


def _stack(p, names, x, t, grid, config, depth, heads, task, training, mask_shifted, combine, found):
    """Blocks and adapters of the encoder or the decoder; ``names``: blocks, adapters, fusion layers, bias tables,
    alphas, shifts.
    """
    blocks, adapters, fusions, tables, alphas, renormalise = names
    window, places = config['shift_window_size'], adapter_places(depth, config)
    index, draw = relative_index(window), partial(_noise, grid=grid, window=window) if training else None
    for i in range(depth):
        bias = p[f'{tables}.{i // 2}.relative_position_bias_table'][index].permute(2, 0, 1)  # (heads, L, L)
        x, t = (block(p, f'{blocks}.{i}', y, grid, heads, bias, window, i % 2 == 1, mask_shifted) for y in (x, t))
        if i not in places:
            continue
        m = i // config['interval_tau']
        shifts = (
            p[f'{adapters}.{m}.modal_shifts'][2 * task : 2 * task + 2]
            if f'{adapters}.{m}.modal_shifts' in p
            else (0.0, 0.0)
        )
        h, prompts, balance = adapter(p, f'{adapters}.{m}', x, t, task, shifts, draw, combine)
        fused, a = fusion_layer(p, f'{fusions}.{m}', h[0] + h[1], grid), p[alphas][m]
        mixed = [a * fused + (1 - a) * y for y in (x, t)]
        x, t = [_with_statistics_of(new, old) for new, old in zip(mixed, (x, t))] if renormalise else mixed
        found.append((prompts, balance))
    return x, t


# ---- the network


def twin(
    p, config, first, second, task=0, training=False, position='corrected', mask_shifted=False, combine='logsumexp'
):
    """The whole network on two (B, 3, H, W) images in [0, 1] whose sides suit the windows.

    Args:
        p: Tensors under the official names, and per adapter ``modal_shifts`` (2 T, C), row 2k that of the first and
            2k + 1 of the second source of task k (zero where they are missing).
        config: Sizes, as :data:`CONFIG`.
        task: Index of the task.
        training: Draw router noise: one ``torch.randn_like`` per adapter in order, its rows for image after image,
            window after window.
        position: ``'corrected'`` or ``'published'``.
        mask_shifted: No attention across the wrap-around of rolled windows.
        combine: ``'logsumexp'`` as in the program, or ``'linear'`` as in the paper, with the sigmoid before the mean.

    Returns:
        dict: ``raw`` (normalized, double size when upsampled), ``fused`` (B, 3, H, W) unclamped, ``latents`` of both
        streams, ``prompts`` (encoder first, encoder second, decoder first, decoder second; (modules, B, N, 1) each),
        ``balances``, ``aux`` and ``prompt``, the sums of the balance terms and the weighted prompt regularization.
    """
    height, width = first.shape[-2:]
    mean, std = (torch.tensor(v).to(first).view(1, 3, 1, 1) for v in (MEAN, STD))  # rounded to float32 in float64 too
    factor = 2 if config['upsample'] else 1
    grid = factor * height // PATCH, factor * width // PATCH
    streams = []
    for image in (first, second):
        y = (image - mean) / std
        if factor == 2:
            y = F.interpolate(y, scale_factor=2, mode='bilinear', align_corners=False)
        y = (
            F.conv2d(y, p['patch_embed.proj.weight'], p['patch_embed.proj.bias'], stride=PATCH)
            .flatten(2)
            .transpose(1, 2)
        )
        streams.append(y + resized_positions(p['pos_embed'], *grid, position))

    encoder, decoder = [], []
    names = 'blocks', 'blocks_MoA', 'FusionLayer', 'en_relative_position', 'Alpha_encoder', False
    x, t = _stack(
        p,
        names,
        *streams,
        grid,
        config,
        config['depth'],
        config['num_heads'],
        task,
        training,
        mask_shifted,
        combine,
        encoder,
    )
    latents = [_norm(p, 'norm', y) for y in (x, t)]
    x, t = (
        F.linear(y, p['decoder_embed.weight'], p['decoder_embed.bias'])
        + resized_positions(p['decoder_pos_embed'], *grid, position)
        for y in latents
    )
    names = 'decoder_blocks', 'decoder_blocks_MoA', 'de_FusionLayer', 'de_relative_position', 'Alpha_decoder', True
    x, t = _stack(
        p,
        names,
        x,
        t,
        grid,
        config,
        config['decoder_depth'],
        config['decoder_num_heads'],
        task,
        training,
        mask_shifted,
        combine,
        decoder,
    )

    patches = F.linear(
        _norm(p, 'decoder_norm', x), p['decoder_pred.weight'], p['decoder_pred.bias']
    )  # (B, N, 16 rows x 16 columns x RGB)
    raw = (
        patches.reshape(-1, *grid, PATCH, PATCH, 3)
        .permute(0, 5, 1, 3, 2, 4)
        .reshape(-1, 3, grid[0] * PATCH, grid[1] * PATCH)
    )
    prompts = [torch.stack([prompts[side] for prompts, _ in part]) for part in (encoder, decoder) for side in range(2)]
    balances = [balance for _, balance in encoder + decoder]
    return dict(
        raw=raw,
        fused=F.interpolate(raw, (height, width)) * std + mean,
        latents=latents,
        prompts=prompts,
        balances=balances,
        aux=sum(1e-3 * (_cv2(balance['importance']) + _cv2(balance['load'])) for balance in balances),
        prompt=0.75 * ((prompts[0] + prompts[1] - 1) ** 2).mean() + 0.25 * ((prompts[2] + prompts[3] - 1) ** 2).mean(),
    )
