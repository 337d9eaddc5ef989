"""Seeded mutators: damaged copies of bytes, text, trees (JSON, yaml) and checkpoints."""

import copy
import io
import json
import os
import random
import re
import struct

import torch

NUMBERS = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 32768, 65500, 65535, 2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
MAGICS = (
    b'\x89PNG\r\n\x1a\n',
    b'\xff\xd8\xff\xe0',
    b'BM',
    b'II*\0',
    b'MM\0*',
    b'II+\0',
    b'GIF89a',
    b'RIFF',
    b'%!PS-Adobe',
    b'PK\x03\x04',
    b'\x80\x02',
    b'\x1f\x8b',
    b'\0\0\0\x0cjP  ',
)
WORDS = (
    'nan',
    'inf',
    '-inf',
    '1e999',
    '-1',
    '0',
    '',
    '9' * 5000,
    '1_0',
    '\u0663',
    '\u00b2',
    '0x10',
    'None',
    'true',
    '1.5',
    '-0',
    'a' * 100000,
    '\0',
    '\ufeff',
    '\u2028',
    '\ud7ff',
    '%s',
    '../../etc/passwd',
    '&amp;',
    ']]>',
)
VALUES = (
    None,
    True,
    0,
    -1,
    1.5,
    float('nan'),
    float('inf'),
    10**400,
    '',
    'x',
    'nan',
    [],
    {},
    [[]],
    {'type': 'x'},
    ['x'] * 1000,
    {'a': {'b': {}}},
)


def mutate_bytes(rng: random.Random, seeds) -> bytes:
    """One to four changes to one of the seeds."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = _byte_change(rng, data, seeds)
    return bytes(data)


def _byte_change(rng, data, seeds):
    size = len(data)
    place = rng.randrange(size) if size else 0
    if rng.random() < 0.4:  # headers decide more than pixels
        place = min(place, rng.randrange(128))
    kind = rng.randrange(11)
    if kind == 0 and size:
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == 1 and size:
        data[place] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    elif kind == 2:
        form, number = rng.choice(('<H', '>H', '<I', '>I', '<Q')), rng.choice(NUMBERS)
        text = struct.pack(form, number & (256 ** struct.calcsize(form) - 1))
        data[place : place + len(text)] = text
    elif kind == 3:
        data = data[:place]
    elif kind == 4:
        del data[place : place + rng.choice((1, 4, 16, 256))]
    elif kind == 5:
        piece = data[place : place + rng.choice((1, 12, 64, 1024))]
        data[place:place] = piece * rng.choice((1, 2, 50))
    elif kind == 6:
        data[place:place] = rng.randbytes(rng.choice((1, 4, 64)))
    elif kind == 7:
        other = rng.choice(seeds)
        data = data[:place] + other[rng.randrange(len(other) + 1) :]
    elif kind == 8:
        magic = rng.choice(MAGICS)
        data[: len(magic)] = magic
    elif kind == 9:
        data += rng.randbytes(rng.choice((1, 100)))
    else:
        end = min(size, place + rng.choice((8, 64, 4096)))
        data[place:end] = bytes([rng.choice((0, 255))]) * (end - place)
    return data


def mutate_text(rng: random.Random, seeds) -> bytes:
    """Words, numbers and lines changed; now and then raw bytes."""
    if rng.random() < 0.2:
        return mutate_bytes(rng, seeds)
    text = rng.choice(seeds).decode()
    for _ in range(rng.choice((1, 1, 2, 3))):
        parts = re.split(r'([<>\s"\',:\[\]{}=/]+)', text)
        place = rng.randrange(len(parts))
        kind = rng.randrange(6)
        if kind < 3:
            parts[place] = rng.choice(WORDS)
        elif kind == 3:
            del parts[place : place + rng.choice((1, 2, 5))]
        elif kind == 4:
            parts[place:place] = parts[place : place + rng.choice((1, 3, 9))] * rng.choice((1, 2, 200))
        else:
            other = rng.randrange(len(parts))
            parts[place], parts[other] = parts[other], parts[place]
        text = ''.join(parts)
    data = text.encode('utf-8', 'replace')
    if rng.random() < 0.1:
        data = rng.choice(
            (data.decode().encode('utf-16'), b'\xef\xbb\xbf' + data, data.replace(b'\n', b'\r'), b'\xff' + data)
        )
    return data


def places(tree, path=()):
    """Paths to all nodes of nested dicts and lists."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def mutate_tree(rng: random.Random, tree, values=VALUES):
    """A tree with nodes replaced, left out, moved or repeated."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 2, 4))):
        paths = [path for path in places(tree) if path]
        if not paths or rng.random() < 0.02:
            return copy.deepcopy(rng.choice(values))
        *way, key = rng.choice(paths)
        node = tree
        for step in way:
            node = node[step]
        kind = rng.randrange(5)
        if kind < 2:
            node[key] = copy.deepcopy(rng.choice(values))
        elif kind == 2:
            del node[key]
        elif kind == 3 and isinstance(node, dict):
            node[rng.choice((f'{key}x', 7, '', 'type', f'{key}.{key}'))] = node.pop(key)
        else:
            node[key] = [node[key]] * rng.choice((1, 2, 300))
    return tree


def mutate_json(rng: random.Random, trees) -> bytes:
    """JSON of a changed tree, or changed JSON."""
    text = json.dumps(rng.choice(trees)).encode()
    if rng.random() < 0.03:
        return rng.choice(
            (b'[' * 200000, b'{"a":' * 200000, b'[' * 900 + b']' * 900, b'"' + b'x' * 10**6 + b'"', b'1' * 10**6, b'')
        )
    if rng.random() < 0.4:
        return mutate_text(rng, [text])
    return json.dumps(mutate_tree(rng, rng.choice(trees))).encode()


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def tensor_values(marker: str) -> list:
    """What may stand in a checkpoint in the place of a tensor."""
    cyclic: dict = {}
    cyclic['self'] = cyclic
    return [
        None,
        0,
        'x',
        [],
        {},
        Evil(marker),
        cyclic,
        torch.zeros(()),
        torch.zeros(0),
        torch.zeros(3, 0),
        torch.full((2, 2), float('nan')),
        torch.zeros(1).expand(10**9),
        torch.zeros(2, 3, dtype=torch.complex64),
        torch.zeros(2, dtype=torch.int64),
        torch.eye(3).to_sparse(),
        torch.empty(4, 4, device='meta'),
        torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.qint8),
        [torch.zeros(2)],
        b'bytes',
        10**400,
        torch.zeros(4, 4).bool(),
        torch.zeros(1, 1, 1, 1, 1, 1, 1),
        torch.nn.Parameter(torch.rand(3)),
    ]


def mutate_checkpoint(rng: random.Random, trees, marker: str) -> bytes:
    """A checkpoint of a changed tree, or changed bytes of one."""
    kind = rng.random()
    tree = rng.choice(trees)
    values = tensor_values(marker)
    if kind < 0.6:
        paths = len(tree)
        tree = dict(tree)
        for _ in range(rng.choice((1, 1, 2, 5))):
            holder, key = tree, rng.choice(list(tree))
            if isinstance(tree.get(key), dict) and tree[key] and rng.random() < 0.9:
                tree[key] = dict(tree[key])
                holder, key = tree[key], rng.choice(list(tree[key]))
            change = rng.randrange(4)
            if change < 2:
                holder[key] = rng.choice(values)
            elif change == 2 and len(holder) > 1:
                del holder[key]
            else:
                holder[rng.choice((3, f'{key}.x', f'module.{key}', '', ('a',), None))] = holder[key]
        if rng.random() < 0.03 or not paths:
            tree = rng.choice(values)
    file = io.BytesIO()
    torch.save(tree, file, _use_new_zipfile_serialization=rng.random() < 0.7)
    return file.getvalue() if kind < 0.6 else mutate_bytes(rng, [file.getvalue()])
