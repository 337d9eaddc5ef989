"""Parts of pages that need nothing but themselves: one HTML file, light and dark, pictures inside it."""

import base64
from html import escape
from typing import Sequence, Tuple

import cv2
import numpy as np

#: Colors and type that all pages share; what follows it may refine.
STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1a1a1a; --soft: #5a5a5a; --line: #d0d0d0; --box: #f4f4f2; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #161616; --ink: #e8e8e8; --soft: #a8a8a8; --line: #444; --box: #222; }
}
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; } h3 { font-size: 1.05rem; margin-top: 1.8rem; }
.answer { font-size: 1.2rem; padding: 1rem 1.2rem; background: var(--box); border-left: 5px solid var(--ink); }
.note { padding: .6rem 1rem; border: 1px dashed var(--soft); }
.soft, figcaption, caption { color: var(--soft); font-size: .9rem; }
caption { text-align: left; padding-bottom: .4rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td.text { text-align: left; } td.text { white-space: normal; }
svg, img { max-width: 100%; height: auto; } figure { margin: 1rem 0; }
dt { font-weight: 600; margin-top: .4rem; } dd { margin-left: 1.2rem; }
@media print { :root { --ground: #fff; --ink: #000; } }
"""


def web_page(title: str, parts: Sequence[str], style: str = '', script: str = '') -> str:
    """A whole page.

    Args:
        title: Title of the window, plain text.
        parts: HTML of the body.
        style: Rules beside :data:`STYLE`.
        script: JavaScript of our own, at the end of the body; the page must say everything without it.
    """
    code = f'\n<script>{script}</script>' if script else ''
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        f' content="width=device-width, '
        f'initial-scale=1"><title>{escape(title)}</title><style>{STYLE}{style}</style></head>\n<body>\n'
        + '\n'.join(parts)
        + f'{code}\n</body></html>\n'
    )


def page_figure(content: str, caption: str = '') -> str:
    """A figure with its caption.

    Args:
        content: HTML or SVG.
        caption: Plain text.
    """
    return (
        f'<figure class="scroll">{content}{f"<figcaption>{escape(caption)}</figcaption>" if caption else ""}</figure>'
    )


def page_table(heads: Sequence[str], rows: Sequence[Tuple[Sequence[object], bool]], caption: str) -> str:
    """A table that scrolls where it is too wide.

    Args:
        heads: HTML of the heads.
        rows: HTML of the cells, the first of which names the row, and whether the row stands out.
        caption: Plain text.
    """
    body = ''.join(
        f'<tr{" class=best" if best else ""}><th '
        f'scope="row">{cells[0]}</th>{"".join(f"<td>{cell}</td>" for cell in cells[1:])}</tr>'
        for cells, best in rows
    )
    head = ''.join(f'<th scope="col">{cell}</th>' for cell in heads)
    return (
        '<div'
        f' class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def page_picture(image: np.ndarray, width: int, caption: str) -> str:
    """A figure of a picture, (H, W), (H, W, 1) or (H, W, 3) BGR, uint8, at most ``width`` pixels wide, with a caption
    in plain text.
    """
    address, (height, width) = embed_picture(image, width)
    label = escape(caption, True)
    return page_figure(f'<img src="{address}" width="{width}" height="{height}" alt="{label}" loading="lazy">', caption)


def embed_picture(image: np.ndarray, width: int, quality: int = 85) -> Tuple[str, Tuple[int, int]]:
    """A picture as a ``data:`` address.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) BGR, uint8.
        width: Pixels that it may be wide; a wider one is made smaller.
        quality: Of the JPEG file.

    Returns:
        tuple: The address, and (height, width) of the picture in it.
    """
    if image.shape[1] > width:
        size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    content = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return f'data:image/jpeg;base64,{base64.b64encode(content).decode()}', image.shape[:2]
