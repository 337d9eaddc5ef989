"""Size and completeness of png, jpg, bmp and tif files by their own structure, before anything is decoded.

Decoders differ in what they make of a damaged file: a picture that is partly gray, an exception, gigabytes of memory.
The structure is walked here instead; that takes microseconds. Everything a header may declare twice (two ``IHDR``
chunks, a tag that is repeated) is refused, since decoders disagree about which one counts.
"""

import struct
from typing import BinaryIO, Dict, NamedTuple, Set, Tuple

PNG_MAGIC = b'\x89PNG\r\n\x1a\n'
_MAX_SEGMENTS = 4096  # of a jpg before its first scan
_MAX_TAGS = 4096
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: 'B', 3: 'H', 4: 'I', 16: 'Q'}
_WIDTH, _HEIGHT, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 277, 322, 323
_SUBFILE = 254  # of a page: 1 for a smaller copy of another one, 4 for a mask
_PLACES = ((273, 279), (324, 325))  # (StripOffsets, StripByteCounts), (TileOffsets, TileByteCounts)


class Damaged(ValueError):
    """The structure of the file is broken; the message says where."""


class Truncated(Damaged):
    """The file ends before what its header announces."""


class Unsupported(Damaged):
    """The file is of another kind."""


class Header(NamedTuple):
    """What the structure of a picture says.

    Attributes:
        kind: ``'png'``, ``'jpg'``, ``'bmp'`` or ``'tif'``.
        height: In pixels; of a tif file the height of its tiles where that is larger.
        width: Likewise.
    """

    kind: str
    height: int
    width: int


def read_header(file: BinaryIO, whole: bool = True) -> Header:
    """Walk the structure of a picture.

    Args:
        file: Open for reading bytes, seekable.
        whole: Also check that nothing is missing at the end.

    Raises:
        Unsupported: It is no png, jpg, bmp or tif file.
        Truncated: It ends too early.
        Damaged: Its header contradicts itself.
    """
    magic = _at(file, 0, 8, True)
    if magic == PNG_MAGIC:
        return _png(file, whole)
    if magic.startswith(b'\xff\xd8'):
        return _jpg(file, whole)
    if magic[:4] in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
        return _tif(file, whole)
    if magic.startswith(b'BM'):
        return _bmp(file, whole)
    known = next((name for name, marks in _OTHERS.items() if any(magic.startswith(mark) for mark in marks)), None)
    raise Unsupported(f'it is a {known} file' if known else 'it has no image header')


_OTHERS = {
    'GIF': (b'GIF8',),
    'WebP': (b'RIFF',),
    'JPEG 2000': (b'\0\0\0\x0cjP', b'\xff\x4f\xff\x51'),
    'PDF': (b'%PDF',),
    'PostScript': (b'%!PS',),
    'netpbm': (b'P1', b'P2', b'P3', b'P4', b'P5', b'P6', b'P7'),
    'zip': (b'PK\x03\x04',),
    'gzip': (b'\x1f\x8b',),
    'html': (b'<!DOCTYP', b'<html', b'<HTML'),
}


def _at(file: BinaryIO, place: int, count: int, short: bool = False) -> bytes:
    try:
        file.seek(place)
    except (OverflowError, OSError, ValueError) as error:
        raise Truncated(f'it refers to byte {place}') from error
    data = file.read(count)
    if len(data) < count and not short:
        raise Truncated(f'it ends at byte {place + len(data)}')
    return data


def _size_of(file: BinaryIO) -> int:
    return file.seek(0, 2)


def _png(file: BinaryIO, whole: bool) -> Header:
    length, kind, width, height = struct.unpack('>I4sII', _at(file, 8, 16))
    if kind != b'IHDR' or length != 13:
        raise Damaged('its first chunk is no IHDR')
    if whole:
        position, size, headers = 8, _size_of(file), 0
        while kind != b'IEND':
            length, kind = struct.unpack('>I4s', _at(file, position, 8))
            position += 12 + length
            headers += kind == b'IHDR'
            if position > size:
                raise Truncated(f'its chunk {kind!r} does not end within the file')
        if headers > 1:
            raise Damaged('it has several IHDR chunks')
    return Header('png', height, width)


def _jpg(file: BinaryIO, whole: bool) -> Header:
    """Thumbnails inside header segments have markers of their own, hence the walk from segment to segment."""
    position, frame = 2, None
    for _ in range(_MAX_SEGMENTS):
        mark, marker = _at(file, position, 2)
        if mark != 0xFF:
            raise Damaged(f'there is no marker at byte {position}')
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # these have no length
            position += 2
            continue
        if marker in (0xD8, 0xD9):
            raise Damaged('its first scan is missing')
        (length,) = struct.unpack('>H', _at(file, position + 2, 2))
        if length < 2:
            raise Damaged(f'the segment at byte {position} has no length')
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if frame is not None:
                raise Damaged('it has several frames')
            frame = struct.unpack('>HH', _at(file, position + 5, 4))
        position += 2 + length
        if marker == 0xDA:
            break
        if frame is not None and not whole:
            break
    else:
        raise Damaged('it has too many segments')
    if frame is None:
        raise Damaged('it has a scan without a frame')
    if whole:
        # inside a scan the bytes FF D9 are the end marker only
        scans = _at(file, position, _size_of(file), True)
        if b'\xff\xd9' not in scans:
            raise Truncated('its end marker is missing')
    return Header('jpg', *frame)


def count_scans(data: bytes) -> int:
    """Scans of a jpg file, or a few more: markers inside thumbnails are counted too."""
    return data.count(b'\xff\xda')


def _bmp(file: BinaryIO, whole: bool) -> Header:
    declared, start, head = struct.unpack('<2xI4xII', _at(file, 0, 18))
    if head == 12:  # the header of OS/2
        width, height, planes, bits = struct.unpack('<HHHH', _at(file, 18, 8))
        compression = 0
    elif 16 <= head <= 1024:
        width, height, planes, bits = struct.unpack('<iiHH', _at(file, 18, 12))
        (compression,) = struct.unpack('<I', _at(file, 30, 4)) if head >= 40 else (0,)
    else:
        raise Damaged(f'its header has {head} bytes')
    height = abs(height)  # negative where the rows run downwards
    if width < 1 or height < 1:
        raise Damaged(f'its header declares {width}x{height} pixels')
    if bits not in (1, 2, 4, 8, 16, 24, 32, 64) and compression == 0:
        raise Damaged(f'its header declares {bits} bits per pixel')
    if whole:
        size = _size_of(file)
        # the declared size is wrong in published files (TNO), so it counts only where the rows are compressed
        end = start + (width * bits + 31) // 32 * 4 * height if compression in (0, 3) else declared
        if end > size:
            raise Truncated(f'it has {size} bytes of {end}')
    return Header('bmp', height, width)


def _tif(file: BinaryIO, whole: bool) -> Header:
    """The first page: its size, and that every strip or tile lies inside the file."""
    mark = _at(file, 0, 4)
    order, big = '<' if mark.startswith(b'II') else '>', b'+' in mark
    tags = _tif_tags(file, order, big)

    def values(tag: int) -> Tuple[int, ...]:
        kind, count, place = tags[tag]
        if kind not in _INTEGERS:
            raise Damaged(f'its tag {tag} holds no whole numbers')
        return struct.unpack(f'{order}{count}{_INTEGERS[kind]}', _at(file, place, count * _TYPE_SIZES[kind]))

    def number(tag: int, default: int) -> int:
        found = values(tag) if tag in tags else (default,)
        if not found:
            raise Damaged(f'its tag {tag} is empty')
        return found[0]

    width, height = number(_WIDTH, 0), number(_HEIGHT, 0)
    if not 1 <= number(_SAMPLES, 1) <= 4:
        raise Damaged(f'it has {number(_SAMPLES, 1)} channels')
    if whole:
        pages = _tif_pages(file, order, big)
        if pages > 1:
            raise Damaged(
                f'it has {pages} pages, and a source is one image; write each page to a file of its own (tiffsplit)'
            )
        size, found = _size_of(file), False
        for offsets, counts in _PLACES:
            if offsets in tags and counts in tags:
                found = True
                if any(offset + count > size for offset, count in zip(values(offsets), values(counts))):
                    raise Truncated('a strip or tile lies outside the file')
        if not found:
            raise Damaged('it names no strips or tiles')
    if width < 1 or height < 1:
        raise Damaged(f'its header declares {width}x{height} pixels')
    return Header('tif', height, width)


def tile_size(file: BinaryIO) -> Tuple[int, int]:
    """(height, width) of the tiles of a tif file, which a decoder allocates whatever the size of the picture; (1, 1)
    where it has none.
    """
    mark = _at(file, 0, 4)
    order = '<' if mark.startswith(b'II') else '>'
    tags = _tif_tags(file, order, b'+' in mark)
    found = []
    for tag in (_TILE_HEIGHT, _TILE_WIDTH):
        kind, count, place = tags.get(tag, (0, 0, 0))
        if kind in _INTEGERS and count:
            found.append(struct.unpack(f'{order}{_INTEGERS[kind]}', _at(file, place, _TYPE_SIZES[kind]))[0])
    return tuple(found) if len(found) == 2 else (1, 1)


def _tif_pages(file: BinaryIO, order: str, big: bool) -> int:
    """How many pages there are, thumbnails and reduced copies not counted; as far as their chain can be followed."""
    entry, head, word = (20, 8, 'Q') if big else (12, 2, 'I')
    (start,) = struct.unpack(f'{order}{word}', _at(file, 8 if big else 4, struct.calcsize(word)))
    pages = 0
    seen: Set[int] = set()
    while start and start not in seen and len(seen) < _MAX_TAGS:
        seen.add(start)
        try:
            (number,) = struct.unpack(f'{order}{"Q" if big else "H"}', _at(file, start, head))
            if number > _MAX_TAGS:
                break
            data = _at(file, start + head, number * entry)
            reduced = any(
                struct.unpack_from(f'{order}H', data, index * entry)[0] == _SUBFILE
                and struct.unpack_from(f'{order}I', data, index * entry + entry - (8 if big else 4))[0] & 5
                for index in range(number)
            )
            (start,) = struct.unpack(f'{order}{word}', _at(file, start + head + number * entry, struct.calcsize(word)))
        except Truncated:  # behind the first page, which is read without them
            break
        pages += not reduced
    return pages


def _tif_tags(file: BinaryIO, order: str, big: bool) -> Dict[int, Tuple[int, int, int]]:
    """(type, count, byte where the values begin) by tag."""
    (start,) = struct.unpack(f'{order}Q', _at(file, 8, 8)) if big else struct.unpack(f'{order}I', _at(file, 4, 4))
    entry, head, inside = (20, 8, 8) if big else (12, 2, 4)
    (number,) = struct.unpack(f'{order}{"Q" if big else "H"}', _at(file, start, head))
    if not 1 <= number <= _MAX_TAGS:
        raise Damaged(f'its first page has {number} tags')
    data, tags, size = _at(file, start + head, number * entry), {}, _size_of(file)
    for index in range(number):
        tag, kind, count = struct.unpack_from(f'{order}HH{"Q" if big else "I"}', data, index * entry)
        if tag in tags:
            raise Damaged(f'its tag {tag} appears twice')
        place = start + head + index * entry + entry - inside
        length = count * _TYPE_SIZES.get(kind, 1)
        if length > inside:
            (place,) = struct.unpack_from(f'{order}{"Q" if big else "I"}', data, index * entry + entry - inside)
            if place + length > size:
                if tag in (_WIDTH, _HEIGHT, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT) or any(
                    tag in pair for pair in _PLACES
                ):
                    raise Truncated(f'its tag {tag} lies outside the file')
                continue  # odd tags that do not concern the pixels
        tags[tag] = (kind, count, place)
    return tags
