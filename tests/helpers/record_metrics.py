"""Write ``tests/data/metrics``: images rendered from a seed, and what mmfusion's metrics give for them.

Run it after a wanted change of a metric, on a machine where the tests of the metrics have just passed against the
reference programs: ``python tests/helpers/record_metrics.py``. The files stand in for the reference data where that is
absent (see ``metric_reference.py``).
"""

import json
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple

import cv2
import numpy as np

TESTS = Path(__file__).resolve().parents[1]
FOLDER = TESTS / 'data' / 'metrics'
sys.path[:0] = [str(TESTS / 'helpers'), str(TESTS / 'twins'), str(TESTS / 'test_evaluation'), str(TESTS.parent)]

import metric_reference  # noqa: E402

from mmfusion.evaluation import functional as MF  # noqa: E402
from mmfusion.evaluation import protocols as MP  # noqa: E402

#: The rules by which gray images are fused; integer arithmetic, as in the reference data.
FUSIONS = dict(avg=lambda vi, ir: (ir + vi + 1) // 2, max=np.maximum, w73=lambda vi, ir: (7 * vi + 3 * ir + 5) // 10)
#: Jobs of each section; a pair whose name ends with ``color`` has three channels.
JOBS = dict(
    full=('noise/avg', 'noise/max', 'noise/w73'),
    crop96=('noise/avg', 'noise/max', 'noise/w73'),
    crop48=('noise/avg', 'noise/max'),
    published_vifb_colour=('color/avg', 'color/max'),
    published_tang=('noise/avg', 'noise/max'),
)
#: Relative tolerances by program: float32 inside the program, or printed digits, set them; see the reference data.
TOLERANCES = dict(
    cddfuse={
        'EN,MI': 1e-12,
        'SD,SF,AG,MSE,PSNR': 2e-7,
        'CC,SCD,Qabf': 3e-7,
        'VIFF': 1e-9,
        'SSIM': 2e-5,
        'SSIM_dr2_f64': 1e-8,
        'SSIM_dr255': 5e-7,
    },
    tang={'*': 1e-9},
    tang_legacy_u8={'SD,SF': 1e-12, 'VIF': 1e-6, 'SSIM_u8': 1e-9},
    vifb_gray={'*': 1e-9},
    liu={'*': 1e-9},
    mefb_gray={'*': 1e-9},
    tang_hard={'*': 1e-9},
    fmi={'*': 1e-9},
    tang_py={'SSIM': 5e-3, 'MS_SSIM': 1e-3, 'EN': 2e-5, '*': 3e-7},
    published_vifb={'*': 5e-5},
    published_tang={'VIF': 1e-6, '*': 1e-10},
)


class Entry(NamedTuple):
    """One value: in which section, under which program and name it stands, and the protocol and name that give it
    here.
    """

    section: str
    program: str
    printed: str
    protocol: str
    name: str


def entries() -> Iterator[Entry]:
    """Everything that the tests of the metrics look up, from their own tables."""
    import test_edge_metrics
    import test_information_metrics
    import test_perceptual_metrics
    import test_similarity_metrics

    for section, protocol, program, name, printed in test_edge_metrics.REFERENCE:
        yield Entry(section, program, printed, protocol, name)
    for section in ('full', 'crop96'):
        for protocol, program, name, printed in test_perceptual_metrics.REFERENCE:
            yield Entry(section, program, printed, protocol, name)
    for (section, program, printed), ours in test_similarity_metrics.REFERENCES.items():
        yield Entry(section, program, printed, *ours[0][:2])
    for section, program, protocol, names in test_information_metrics.CASES:
        for printed, name in names.items():
            yield Entry(section, program, printed, protocol, name)
    for name in test_information_metrics.ZOO:
        yield Entry('full', 'ivif_zoo', name, 'tang_py', name)
    for printed, name in (('Qabf', 'Qabf'), ('Qcv', 'QCV'), ('Qcb', 'QCB')):
        yield Entry('published_vifb_colour', 'published_vifb_colour', printed, 'vifb', name)
    yield Entry('published_tang', 'published_tang', 'Qabf', 'tang_uint8', 'Qabf')


def blobs(rng: np.random.Generator, height: int, width: int, radius: int) -> np.ndarray:
    """Noise smoothed by a box, in integers, stretched to 0 .. 255: (H, W) int64."""
    noise = rng.integers(0, 256, (height + 2 * radius, width + 2 * radius))
    sums = np.lib.stride_tricks.sliding_window_view(noise, (2 * radius + 1, 2 * radius + 1)).sum((-2, -1))
    return (sums - sums.min()) * 255 // (sums.max() - sums.min())


def render() -> Dict[str, np.ndarray]:
    """The pictures by file name; color ones in the order of OpenCV."""
    rng = np.random.default_rng(2026)
    grain = rng.integers(-6, 7, (2, 176, 192))
    visible, infrared = (np.clip(blobs(rng, 176, 192, radius) + part, 0, 255) for radius, part in zip((2, 6), grain))
    pictures = {'noise_vi': visible, 'noise_ir': infrared}
    pictures.update({f'noise_{name}': rule(visible, infrared) for name, rule in FUSIONS.items()})
    visible, infrared = (
        np.stack([blobs(rng, 100, 112, radius) for radius in radii], -1) for radii in ((1, 2, 3), (4, 4, 4))
    )
    pictures.update({'color_vi_orig': visible, 'color_ir_orig': infrared})
    pictures.update({f'color_{name}_orig': FUSIONS[name](visible, infrared) for name in ('avg', 'max')})
    return {name: picture.astype(np.uint8) for name, picture in pictures.items()}


def values(folder: Path) -> Dict[str, Dict[str, dict]]:
    """Sections with their jobs and values, from the pictures in ``folder`` and the metrics as they are now."""
    wanted: Dict[str, List[Entry]] = {section: [] for section in JOBS}
    for entry in dict.fromkeys(entries()):
        if not any(entry[:3] == other[:3] for other in wanted[entry.section]):
            wanted[entry.section].append(entry)
    result: Dict[str, Dict[str, dict]] = {}
    for section, jobs in JOBS.items():
        result[section] = {}
        for job in jobs:
            images = metric_reference.images_of(folder, section, job)
            found: Dict[str, Dict[str, float]] = {}
            for entry in wanted[section]:
                value = MP.evaluate_metric(entry.name, *images, protocol=entry.protocol)[entry.name].item()
                found.setdefault(entry.program, {})[entry.printed] = value if np.isfinite(value) else None
            if section == 'full':
                found['ivif_zoo'].update(
                    AG=MF.average_gradient(images[0]).item(),
                    EI=MF.edge_intensity(images[0], border='zero').item(),
                    VIF=None,
                )
            result[section][job] = found[section] if section.startswith('published') else found
    return result


def main() -> None:
    (FOLDER / 'pairs').mkdir(parents=True, exist_ok=True)
    for name, picture in render().items():
        cv2.imwrite(str(FOLDER / 'pairs' / f'{name}.png'), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    about = (
        'Values of mmfusion for rendered images, recorded when every metric agreed with its program on real ones; '
        'tests/helpers/record_metrics.py'
    )
    content = dict(about=about, suggested_tolerance_rel=TOLERANCES, **values(FOLDER))
    (FOLDER / 'expected.json').write_text(json.dumps(content, indent=1) + '\n')


if __name__ == '__main__':
    main()
