"""Write the tables of docs/en/metrics.md: ``python docs/metric_tables.py`` after a change of metrics or protocols. A
test compares them.
"""

import re
from pathlib import Path
from typing import Callable, Dict, List

import cv2
import numpy as np
import torch
from torch import Tensor

from mmfusion.datasets import DemoPairs
from mmfusion.evaluation.protocols import PROTOCOLS, evaluate_metrics, prepare_images

PAGE = Path(__file__).resolve().parent / 'en' / 'metrics.md'

HANDLED = ('EN', 'SD', 'SF', 'AG', 'MI', 'VIF', 'Qabf', 'SSIM')

# range under the default protocol, source
FACTS = {
    'EN': ('0 to 8', 'J. van Aardt et al., J. Appl. Remote Sens. 2, 023522 (2008)'),
    'SD': ('0 to 127.5', 'Y.-J. Rao, Meas. Sci. Technol. 8, 355 (1997)'),
    'SF': ('0 to 361', 'A. M. Eskicioglu and P. S. Fisher, IEEE Trans. Commun. 43, 2959 (1995)'),
    'AG': ('0 to 255', 'G. Cui et al., Opt. Commun. 341, 199 (2015)'),
    'EI': ('from 0', 'B. Rajalingam and R. Priya, Int. J. Eng. Sci. Invention 2, 52 (2018)'),
    'MI': ('0 to 16', 'G. Qu, D. Zhang and P. Yan, Electron. Lett. 38, 313 (2002)'),
    'QMI': ('0 to 2', 'M. Hossny, S. Nahavandi and D. Creighton, Electron. Lett. 44, 1066 (2008)'),
    'QNCIE': ('0.80 to 1', 'Q. Wang, Y. Shen and J. Jin, in Image Fusion, Academic Press (2008)'),
    'QTE': ('from 0', 'N. Cvejic et al., Electron. Lett. 42, 626 (2006); R. Nava et al., Proc. MICAI 2007'),
    'CE': ('may be negative', 'D. M. Bulanon, T. F. Burks and V. Alchanatis, Biosyst. Eng. 103, 12 (2009)'),
    'CC': ('-1 to 1', 'S. S. Han et al., J. Korean Soc. Remote Sens. 24, 573 (2008)'),
    'SCD': ('-2 to 2', 'V. Aslantas and E. Bendes, AEU Int. J. Electron. Commun. 69, 1890 (2015)'),
    'MSE': ('0 to 65025', 'P. Jagalingam and A. V. Hegde, Aquat. Procedia 4, 133 (2015)'),
    'RMSE': ('0 to 255', 'as MSE'),
    'PSNR': ('from 0', 'as MSE'),
    'VIF': ('0 to about 2', 'H. R. Sheikh and A. C. Bovik, IEEE Trans. Image Process. 15, 430 (2006), pixel domain'),
    'VIFF': ('0 to about 1', 'Y. Han et al., Inf. Fusion 14, 127 (2013)'),
    'SSIM': ('-1 to 1', 'Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004)'),
    'MS_SSIM': ('0 to 1', 'Z. Wang, E. P. Simoncelli and A. C. Bovik, Asilomar Conf. 2003, 1398'),
    'MEF_SSIM': ('0 to 1', 'K. Ma, K. Zeng and Z. Wang, IEEE Trans. Image Process. 24, 3345 (2015)'),
    'Qabf': ('0 to 0.98', 'C. S. Xydeas and V. Petrovic, Electron. Lett. 36, 308 (2000)'),
    'Qabf_P': ('0 to 1', 'V. Petrovic and C. Xydeas, ICCV 2005, 1866'),
    'Labf': ('0 to 1', 'as Qabf_P'),
    'Nabf': ('0 to 1', 'B. K. Shreyamsha Kumar, Signal Image Video Process. 7, 1125 (2013)'),
    'Nabf_misordered': ('0 to 1', 'as Nabf, of the images in the wrong order'),
    'QG': ('0 to 1', 'C. S. Xydeas and V. Petrovic, Proc. SPIE 4051, 89 (2000)'),
    'QM': ('0 to 3', 'P.-W. Wang and B. Liu, ICSP 2008, 965'),
    'QSF': ('from -1, best 0', 'Y. Zheng et al., Inf. Fusion 8, 177 (2007)'),
    'QP': ('0 to 1', 'J. Zhao, R. Laganiere and Z. Liu, Int. J. Innov. Comput. Inf. Control 3, 1433 (2007)'),
    'QS': ('-1 to 1', 'G. Piella and H. Heijmans, ICIP 2003, vol. 3, 173'),
    'QW': ('-1 to 1', 'as QS'),
    'QE': ('-1 to 1', 'as QS'),
    'QY': ('-1 to 1', 'C. Yang et al., Inf. Fusion 9, 156 (2008)'),
    'QC': ('-1 to 1', 'N. Cvejic et al., Int. J. Signal Process. 2, 178 (2005)'),
    'QCV': ('from 0', 'H. Chen and P. K. Varshney, Inf. Fusion 8, 193 (2007)'),
    'QCB': ('0 to 1', 'Y. Chen and R. S. Blum, Image Vis. Comput. 27, 1421 (2009)'),
    'FMI': ('0 to 1', 'M. Haghighat, A. Aghagolzadeh and H. Seyedarabi, Comput. Electr. Eng. 37, 744 (2011)'),
    'FMI_gradient': ('0 to 1', 'as FMI'),
    'FMI_dct': ('0 to 1', 'as FMI'),
}


def worked_pair() -> List[Tensor]:
    """The scene of the page: average, visible and infrared image, uint8 RGB (1, 3, H, W)."""
    scene = DemoPairs(length=4, size=(240, 320), seed=0, split='test').get_data_info(3)
    visible = torch.from_numpy(scene['first'][..., ::-1].copy()).permute(2, 0, 1)[None]
    infrared = torch.from_numpy(scene['second']).permute(2, 0, 1)[None].expand(-1, 3, -1, -1)
    return [((visible.int() + infrared.int() + 1) // 2).to(torch.uint8), visible, infrared]


def metric_names() -> List[str]:
    """Those of the default protocol, then those that others have alone."""
    return list(dict.fromkeys(name for protocol in PROTOCOLS.values() for name in protocol.metrics))


def protocol_table() -> List[str]:
    """One row per protocol."""
    rows = [
        (
            f'`{name}`',
            protocol.title,
            'luma' if protocol.channels == 'grey' else 'each channel, then their mean',
            'all' if name == 'default' else ', '.join(protocol.metrics),
        )
        for name, protocol in PROTOCOLS.items()
    ]
    return table(('protocol', 'whose numbers', 'color images', 'metrics'), rows)


def metric_table() -> List[str]:
    """One row per metric, as the first protocol that has it defines it."""
    rows = []
    for name in metric_names():
        holders = [protocol for protocol in PROTOCOLS.values() if name in protocol.metrics]
        spec = holders[0].metrics[name]
        others = [f'`{protocol.name}`' for protocol in holders if protocol.name != 'default']
        rows.append((f'`{name}`', spec.title, spec.unit, spec.better, *FACTS[name], ', '.join(others)))
    return table(('name', 'what', 'unit', 'better', 'range', 'source', 'also in'), rows)


def worked_table() -> List[str]:
    """Values of the worked pair under every protocol."""
    values: Dict[str, Dict[str, str]] = {}
    for name, protocol in PROTOCOLS.items():
        found = evaluate_metrics(list(protocol.metrics), *prepare_images(worked_pair(), name), protocol=name)
        values[name] = {metric: f'{found[metric].item():.4g}' for metric in protocol.metrics}
    rows = [(f'`{metric}`', *(values[name].get(metric, '') for name in PROTOCOLS)) for metric in metric_names()]
    return table(('', *PROTOCOLS), rows)


def order_table() -> List[str]:
    """The worked pair fused in four ways, by metrics of which the protocols disagree about the best."""
    from mmfusion.apis import FusionInferencer

    average, visible, infrared = worked_pair()
    pyramid = FusionInferencer('LaplacianPyramidFuser')(
        visible[0].permute(1, 2, 0).numpy(), infrared[0, :1].permute(1, 2, 0).numpy()
    )[0].fused
    ways = {
        'average': average,
        'maximum': torch.maximum(visible, infrared),
        'Laplacian pyramid': torch.from_numpy(pyramid).permute(2, 0, 1)[None],
        'visible image alone': visible,
    }
    columns = [('SD', 'default'), ('SD', 'tang_uint8'), ('SSIM', 'default'), ('SSIM', 'cddfuse')]
    columns += [(metric, 'default') for metric in ('VIF', 'VIFF', 'MI', 'Qabf', 'SCD')]
    rows = []
    for way, fused in ways.items():
        values = (
            evaluate_metrics([metric], *prepare_images([fused, visible, infrared], name), protocol=name)[metric]
            for metric, name in columns
        )
        rows.append((way, *(f'{value.item():.4g}' for value in values)))
    return table(('', *(f'{metric}, {name}' for metric, name in columns)), rows)


def limit_table() -> List[str]:
    """Default values where images are equal or constant."""
    fused, first, second = prepare_images(worked_pair())
    constant = torch.full_like(fused, 130)
    cases = {
        'all three equal': (first, first, first),
        'fused = first': (first, first, second),
        'fused constant': (constant, first, second),
        'second constant': (fused, first, constant),
        'all constant': (constant, constant, constant),
    }
    names = [name for name, spec in PROTOCOLS['default'].metrics.items() if not spec.slow]
    found = [evaluate_metrics(names, *images) for images in cases.values()]
    rows = [(f'`{name}`', *(readable(values[name].item()) for values in found)) for name in names]
    return table(('', *cases), rows)


def readable(value: float) -> str:
    """Four digits, and no rounding noise."""
    return 'NaN' if value != value else f'{value if abs(value) > 1e-6 else 0:.4g}'


def handling_table() -> List[str]:
    """Change of the default metrics, in per cent, by what happens to the images before they are rated."""
    grey = [image[0, 0].numpy() for image in prepare_images(worked_pair())]
    plain = rate(*grey)
    exact = (grey[1].astype(np.float64) + grey[2]) / 2

    def resized(image):
        return cv2.resize(image, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)

    def studio(image):  # luma from 16 to 235
        return np.floor(16 + image * (219 / 255) + 0.5).astype(np.uint8)

    cases = {
        'fused image saved as JPEG, quality 95': (jpeg(grey[0], 95), *grey[1:]),
        'fused image saved as JPEG, quality 75': (jpeg(grey[0], 75), *grey[1:]),
        'fused image stretched to 0..255': (cv2.normalize(grey[0], None, 0, 255, cv2.NORM_MINMAX), *grey[1:]),
        'average rounded half to even (numpy, torch)': (np.round(exact).astype(np.uint8), *grey[1:]),
        'all images resized to 3/4': tuple(map(resized, grey)),
        'all images with luma 16..235 (`rgb2ycbcr`)': tuple(map(studio, grey)),
    }
    rows = [
        (name, *(f'{100 * (value / plain[metric] - 1):+.1f}' for metric, value in rate(*images).items()))
        for name, images in cases.items()
    ]
    return table(('change in %', *HANDLED), rows)


def rate(*images: np.ndarray) -> Dict[str, float]:
    """Default metrics of fused, first and second gray image (H, W)."""
    values = evaluate_metrics(HANDLED, *(torch.from_numpy(image.copy())[None, None] for image in images))
    return {name: values[name].item() for name in HANDLED}


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """The image after a JPEG file."""
    return cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def table(head: tuple, rows: List[tuple]) -> List[str]:
    """Lines of a Markdown table."""
    return ['| ' + ' | '.join(row) + ' |' for row in (head, ('---',) * len(head), *rows)]


TABLES: Dict[str, Callable[[], List[str]]] = {
    'protocols': protocol_table,
    'metrics': metric_table,
    'worked': worked_table,
    'order': order_table,
    'limits': limit_table,
    'handling': handling_table,
}


def replace_tables(text: str, tables: Dict[str, List[str]]) -> str:
    """Put tables between their marks.

    Raises:
        KeyError: The text has no mark of that name.
    """
    for name, lines in tables.items():
        pattern = re.compile(rf'(<!-- table {name},[^\n]*-->\n).*?(<!-- end -->)', re.S)
        if not pattern.search(text):
            raise KeyError(f'no "<!-- table {name} -->" ... "<!-- end -->" in the page')
        before, mark, end, after = pattern.split(text)
        text = before + '\n'.join((mark, *lines, '', end)) + after
    return text


if __name__ == '__main__':
    PAGE.write_text(replace_tables(PAGE.read_text(), {name: build() for name, build in TABLES.items()}))
    print(f'wrote the tables of {PAGE}')
