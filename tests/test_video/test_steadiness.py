"""Flicker of what stands still, the warping error by hand, and metrics over a sequence."""

import cv2
import numpy as np
import pytest

from mmfusion.apis import FusionInferencer
from mmfusion.datasets import DemoSequence
from mmfusion.evaluation import temporal
from mmfusion.video import FusedVideo, RenderedStream, SequenceScores, SteadyPicture, SteadyWindow, record


def rate(steady, fuser='LaplacianPyramidFuser', postprocess=(), frames=12):
    sequence = DemoSequence((96, 128), seed=1)
    streams = [RenderedStream(sequence, camera, frames, 10) for camera in ('visible', 'infrared')]
    times = np.arange(frames) / 10
    fuse = FusionInferencer(fuser)
    fuse.coupling.fuser.postprocess = postprocess
    with FusedVideo(*streams, fuse, steady=steady) as video:
        views = [frame.view for frame in video]
    still = sequence.still(times)
    assert still.mean() > 0.3

    def change(images):
        gray = np.stack(
            [image if image.ndim == 2 else cv2.cvtColor(image.copy(), cv2.COLOR_RGB2GRAY) for image in images]
        )
        return np.abs(np.diff(gray.astype(float), axis=0))[:, still].mean()

    fused, first, second = (change([getattr(view, name) for view in views]) for name in ('fused', 'first', 'second'))
    return fused / max(first, second)


@pytest.mark.parametrize('options', [(), ('MaximumFuser', ('stretch',))])
def test_what_stands_still_flickers_no_more_than_the_sources(options):
    assert rate(True, *options) < 1.0 and rate(True, *options) < 0.75 * rate(False, *options)


def test_without_smoothing_the_pyramid_flickers():
    assert rate(False) > 1.2


def test_what_moves_is_not_smeared():
    rng = np.random.default_rng(0)
    steady, background = SteadyPicture(), rng.integers(90, 110, (64, 96), dtype=np.uint8)
    for step in range(10):
        frame = background + rng.integers(0, 3, background.shape, dtype=np.uint8)
        frame[20:44, 6 * step : 6 * step + 24] = 200
        out = steady(frame, [frame, frame])
    assert np.abs(out[20:44, 54:78].astype(int) - 200).max() <= 2  # where it is
    assert np.abs(out[20:44, :40].astype(int) - frame[20:44, :40]).max() <= 4  # where it was


def test_a_change_of_light_shows_at_once():
    rng = np.random.default_rng(0)
    steady, dark = SteadyPicture(), rng.integers(40, 60, (32, 32), dtype=np.uint8)
    for _ in range(5):
        noisy = dark + rng.integers(0, 3, dark.shape, dtype=np.uint8)
        steady(noisy, [noisy, noisy])
    bright = dark + np.uint8(100)
    bright[:16] = noisy[:16]  # half of the picture
    assert np.abs(steady(bright, [bright, bright])[20:].astype(int) - bright[20:]).max() <= 1


def test_a_window_moves_slowly():
    window, image = SteadyWindow((0, 100)), np.array([[0, 1000]], np.uint16)
    np.testing.assert_allclose(window(image), [[0, 1]])
    np.testing.assert_allclose(window(image * 2), [[0, 1]])  # clipped: the window went to 1020
    assert window.window[1] == pytest.approx(1020)


def test_windows_replace_the_stretch_of_each_picture():
    class Hot(RenderedStream):
        def __iter__(self):
            for number, frame in enumerate(super().__iter__()):
                image = frame.image.astype(np.uint16) * 10
                image[:20, :20] = 60000 if number == 2 else image[:20, :20]
                yield frame._replace(image=image)

    sequence = DemoSequence((64, 80), seed=1, num_objects=(0, 0))
    load = dict(stretch=dict(first=None, second=(0, 99)))
    values = {}
    for steady in (True, False):
        fuse = FusionInferencer('AverageFuser', load=load)
        with FusedVideo(
            RenderedStream(sequence, 'visible', 4), Hot(sequence, 'infrared', 4), fuse, steady=steady
        ) as video:
            values[steady] = [frame.view.second[40:].mean() for frame in video]
        assert fuse.load.stretch['second'] == (0, 99)  # as it was
    assert abs(values[False][2] - values[False][1]) > 20 > 10 * abs(values[True][1] - values[True][0])
    assert abs(values[True][2] - values[True][1]) < 0.5 * abs(values[False][2] - values[False][1])


def test_the_warping_error_of_a_shifted_picture():
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (80, 120), dtype=np.uint8), (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    frame, following = texture[:, 4:-4], texture[:, 2:-6]  # all moves two pixels to the right
    flow = temporal.optical_flow(frame, following)
    visible = temporal.visible_pixels(flow, temporal.optical_flow(following, frame))
    inside = np.s_[10:-10, 10:-10]
    assert np.abs(np.median(flow[inside][..., 0]) - 2) < 0.1 and visible[inside].mean() > 0.9
    assert not visible[:, -1].any()  # what leaves the picture is not seen again
    error = temporal.warping_error(frame, following, flow, visible)
    brighter = np.clip(following.astype(int) + 20, 0, 255).astype(np.uint8)
    still = np.zeros_like(flow)
    assert error < 0.1 * temporal.warping_error(frame, following, still, visible)
    assert temporal.warping_error(frame, brighter, flow, visible) == pytest.approx((20 / 255) ** 2, rel=0.15)
    assert np.isnan(temporal.warping_error(frame, following, flow, np.zeros_like(visible)))


def test_scores_of_a_sequence(tmp_path):
    sequence = DemoSequence((64, 80), seed=1)
    streams = [RenderedStream(sequence, camera, 4, 10) for camera in ('visible', 'infrared')]
    scores, frames = SequenceScores(['EN', 'SF']), []
    with FusedVideo(*streams, FusionInferencer('AverageFuser'), steady=False) as video:
        summary = record(video, tmp_path / 'a.mp4', scores=scores, see=frames.append, progress=False)
    found = summary['scores']
    import torch

    from mmfusion.evaluation.functional import entropy, to_grey

    values = [
        entropy(to_grey(torch.from_numpy(frame.view.fused.copy()).permute(2, 0, 1))[None]).item() for frame in frames
    ]
    assert found['metrics']['EN']['mean'] == pytest.approx(np.mean(values), abs=1e-3)
    assert found['metrics']['EN']['worst'] == pytest.approx(min(values), abs=1e-3)
    assert found['metrics']['EN']['worst_frame'] == frames[int(np.argmin(values))].name
    assert 0 < found['flicker']['fused'] < found['flicker']['second'] and 0 < found['flicker_ratio'] < 1
    assert 0 < found['warping_error']['fused'] < 10
