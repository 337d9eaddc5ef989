"""Files of thermal cameras that are not read: which format it is, and the way to one that is."""

from pathlib import Path
from typing import Optional, Union

from .flir import segments

_TIFF = 'then LoadPair(radiometry=dict(scale=..., offset=...)) makes degrees of it'
#: mark in the first segments of a JPEG -> (format, way out)
_IN_JPEG = (
    (
        (b'DJI', b'dji', b'DIRP'),
        'a DJI R-JPEG',
        f'convert it with the DJI Thermal SDK (dji_irp, action measure, format float32) '
        f'and write the values as TIFF; {_TIFF}',
    ),
    (
        (b'IJPEG',),
        'an InfiRay IRG/IJPEG',
        f'let the IR software of the maker export 16-bit or float TIFF; {_TIFF}',
    ),
    (
        (b'HIKVISION', b'Hikvision', b'HIKMICRO', b'Hikmicro', b'HDRI'),
        'a Hikvision or HIKMICRO radiometric JPEG',
        f'let HIKMICRO Analyzer export the matrix of temperatures, and write it as TIFF; {_TIFF}',
    ),
    (
        (b'Seek Thermal', b'SEEK', b'Seek'),
        'a Seek Thermal JPEG',
        f'let the app of the maker export TIFF or CSV, and write it as TIFF; {_TIFF}',
    ),
    ((b'Guide', b'GUIDE'), 'a Guide radiometric JPEG', f'let ThermoTools export the temperatures as TIFF; {_TIFF}'),
    ((b'testo', b'Testo'), 'a Testo JPEG', f'let IRSoft export the temperatures, and write them as TIFF; {_TIFF}'),
)
#: suffix -> (format, way out)
_BY_SUFFIX = {
    '.is2': ('a Fluke IS2 file', 'let SmartView export 16-bit TIFF'),
    '.is3': ('a Fluke IS3 video', 'let SmartView export frames as 16-bit TIFF'),
    '.bmt': ('a Testo BMT file', 'let IRSoft export the temperatures, and write them as TIFF'),
    '.irb': ('an InfraTec IRB file', 'let IRBIS export 16-bit TIFF'),
    '.ravi': ('an Optris RAVI video', 'let PIX Connect export 16-bit TIFF'),
    '.seq': ('a FLIR SEQ sequence', 'let FLIR Research Studio export 16-bit TIFF, or radiometric JPEG by frame'),
    '.csq': ('a FLIR CSQ sequence', 'let FLIR Research Studio export 16-bit TIFF, or radiometric JPEG by frame'),
    '.fff': ('a FLIR FFF file', 'let FLIR Thermal Studio export 16-bit TIFF or radiometric JPEG'),
}
_LOOKED_AT = 4096  # bytes of a segment


def foreign_jpeg(data: bytes) -> Optional[str]:
    """Format and way out of a JPEG with the thermal data of another maker than FLIR, as a clause of a message; None for
    any other.
    """
    found = [content[:_LOOKED_AT] for marker, content in segments(data) if 0xE0 <= marker <= 0xEF]
    for marks, kind, remedy in _IN_JPEG:
        if any(mark in content for content in found for mark in marks):
            return f'it is {kind}, whose thermal data are not read: {remedy}'
    return None


def foreign_file(path: Union[str, Path]) -> Optional[str]:
    """The same of a file by its suffix.

    Examples:
        >>> foreign_file('a.is2')
        'it is a Fluke IS2 file, which is not read: let SmartView export 16-bit TIFF'
        >>> foreign_file('a.png')
    """
    known = _BY_SUFFIX.get(Path(path).suffix.lower())
    return None if known is None else f'it is {known[0]}, which is not read: {known[1]}'
