"""Frames of two streams paired by time: by hand, and on rendered streams whose truth is known."""

import numpy as np
import pytest

from mmfusion.apis import FusionInferencer
from mmfusion.datasets import DemoSequence
from mmfusion.utils import UserError
from mmfusion.video import Frame, FusedVideo, MotionTrack, PairedFrames, ReadAhead, RenderedStream, estimate_offset
from mmfusion.video.motion import track_live
from mmfusion.video.offset import MOST_DOUBTFUL, OffsetEstimate, _reasons, doubtful_pairs
from mmfusion.video.pairing import right_pairs


def frames(*times):
    return [Frame(np.zeros((1, 1, 1), np.uint8), time, str(time)) for time in times]


def run(first, second, **options):
    pairs = PairedFrames(frames(*first), frames(*second), interval=0.1, **options)
    return [(pair.first.time, pair.second.time, pair.repeated) for pair in pairs], pairs.counts


def test_a_slower_second_stream_serves_several_frames():
    pairs, counts = run([0.0, 0.1, 0.2, 0.3], [0.0, 0.2, 0.4], tolerance=0.15)
    assert [(second, again) for _, second, again in pairs] == [(0.0, False), (0.0, True), (0.2, False), (0.2, True)]
    assert (counts.paired, counts.repeated, counts.unused_second) == (4, 2, 0)


def test_a_faster_second_stream_is_used_in_part():
    pairs, counts = run([0.0, 0.2, 0.4], [0.0, 0.1, 0.2, 0.3, 0.4])
    assert [second for _, second, _ in pairs] == [0.0, 0.2, 0.4]
    assert (counts.repeated, counts.unused_second) == (0, 2)


def test_lost_frames_have_no_partner():
    pairs, counts = run([0.0, 0.1, 0.2, 0.4], [-0.3, -0.2, 0.0, 0.1, 0.3, 0.4])
    assert [first for first, _, _ in pairs] == [0.0, 0.1, 0.4]
    assert (counts.dropped_first, counts.unused_second, counts.outside_second) == (1, 1, 2)


def test_nothing_is_read_after_the_end_of_the_second_stream():
    endless = (Frame(None, k / 10, '') for k in range(10**9))
    pairs = PairedFrames(endless, frames(0.0, 0.1), interval=0.1)
    assert len(list(pairs)) == 2 and pairs.counts.outside_first == 1


def test_streams_that_do_not_meet():
    assert run([0.0, 0.1], [5.0, 5.1])[0] == [] and run([5.0, 5.1], [0.0, 0.1])[0] == []
    assert run([], [0.0])[0] == [] and run([0.0], [])[0] == []


def test_a_tolerance_above_zero_is_needed():
    with pytest.raises(ValueError, match='tolerance must be above 0'):
        PairedFrames([], [], tolerance=0)


@pytest.mark.parametrize('rate', [25, 30, 9])
def test_rendered_streams_with_lost_frames_are_paired_rightly(rate):
    first, second = (
        RenderedStream(None, camera, int(20 * fps), fps, start, offset, lost=0.05, jitter=0.002, seed=3)
        for camera, fps, start, offset in (('visible', 25, 0.3, 0.0), ('infrared', rate, 0.0, 0.12))
        for RenderedStream in (_Blind,)
    )
    pairs = PairedFrames(first, second, offset=0.12, interval=1 / rate)
    found = {pair.first.name: pair.second.name for pair in pairs}
    names = [f'{number:06d}' for number in second.numbers]
    nearest, wrong = right_pairs(first.taken, second.taken), 0
    for number, taken, index in zip(first.numbers, first.taken, nearest):
        partner = found.get(f'{number:06d}')
        distance = np.abs(second.taken - taken)
        if partner is None:  # right if the nearest one is out of reach
            wrong += distance.min() <= 0.5 / rate
        else:  # jitter of the stamps may turn what is equally near
            wrong += distance[names.index(partner)] > distance[index] + 0.009
    assert wrong <= 0.01 * len(first.taken)
    assert len(found) >= 0.85 * len(first.taken)


class _Blind(RenderedStream):
    """Times without pictures."""

    def __init__(self, sequence, *args, **options):
        super().__init__(DemoSequence((64, 64), seed=0), *args, **options)

    def __iter__(self):
        return (
            Frame(np.zeros((1, 1, 1), np.uint8), float(stamp), f'{number:06d}')
            for number, stamp in zip(self.numbers, self.stamps)
        )


@pytest.mark.parametrize('seed,rate', [(1, 25), (13, 30), (17, 9)])
def test_the_offset_is_found_from_what_moves(seed, rate):
    sequence = DemoSequence((96, 128), seed=seed)
    first = RenderedStream(sequence, 'visible', 120, 25, lost=0.05, seed=seed)
    second = RenderedStream(sequence, 'infrared', int(4.8 * rate), rate, start=0.1, offset=0.12, lost=0.05, seed=9)
    estimate = estimate_offset(MotionTrack(first), MotionTrack(second), max_offset=1.0)
    assert abs(estimate.offset - 0.12) < 0.01 and estimate.uncertainty >= 0.005
    assert estimate.score > 0.05 and max(abs(value - 0.12) for value in (*estimate.halves, *estimate.kinds)) < 0.03


def test_what_an_uncertain_offset_costs():
    first = np.arange(100) / 25
    for rate, start in ((25, 0.0), (30, 0.013), (9, 0.013)):
        second = start + np.arange(4 * rate) / rate
        right = right_pairs(first, second)
        for wrong in (0.002, 0.012):
            cost = doubtful_pairs(first, second, 0.0, wrong)
            moved = right_pairs(first, second + wrong)
            assert cost <= max((right_pairs(first, second + sign * wrong) != right).mean() for sign in (-1, 1)) + 0.02
            assert rate != 25 or (cost == 0 and (moved == right).all())
        assert rate == 25 or cost > 0.05


def test_an_offset_that_is_too_uncertain_is_refused_with_the_figures():
    estimate = OffsetEstimate(0.12, 0.012, 0.2, 0.3, 0.2, (0.12, 0.12), (0.12, 0.12))
    assert _reasons(estimate, 0.04, False, 2.0) == [
        'it may be wrong by 12 ms, at which 20 % of the frames would get another partner'
    ]
    estimate.reasons = _reasons(estimate, 0.04, False, 2.0)
    assert estimate.doubtful_alone
    estimate.lead = 0.0
    estimate.reasons = _reasons(estimate, 0.04, False, 2.0)
    assert not estimate.accepted and not estimate.doubtful_alone
    estimate.lead, estimate.doubtful = 0.2, MOST_DOUBTFUL
    assert _reasons(estimate, 0.04, False, 2.0) == []


def test_a_refusal_for_doubtful_frames_says_how_to_take_the_value(monkeypatch):
    estimate = OffsetEstimate(0.1234, 0.005, 0.04, 0.3, 0.2, (0.12, 0.12), (0.12, 0.12))
    estimate.reasons = _reasons(estimate, 0.04, False, 2.0)
    monkeypatch.setattr('mmfusion.video.aligning.estimate_offset', lambda *tracks: estimate)
    sequence = DemoSequence((64, 80), seed=1)
    streams = [RenderedStream(sequence, camera, 10, 10) for camera in ('visible', 'infrared')]
    with pytest.raises(UserError, match=r'4 % of the frames .* --offset 0.1234 takes it'):
        FusedVideo(*streams, FusionInferencer('AverageFuser'), offset='auto')


def test_sixteen_bits_and_a_rig_change_nothing():
    sequence = DemoSequence((96, 128), seed=1)
    first, second = (RenderedStream(sequence, camera, 60, 25) for camera in ('visible', 'infrared'))
    deep = [frame._replace(image=frame.image.astype(np.uint16) * 40 + 7000) for frame in second]
    plain = MotionTrack(second).maps('change', 0.04)[0]
    scaled = MotionTrack(deep).maps('change', 0.04)[0]
    assert np.corrcoef(plain.ravel(), scaled.ravel())[0, 1] > 0.9
    flipped = MotionTrack(first, prepare=lambda image: np.ascontiguousarray(image[:, ::-1]))
    np.testing.assert_allclose(
        flipped.maps('change', 0.04)[0][..., ::-1], MotionTrack(first).maps('change', 0.04)[0], atol=0.2
    )


def test_two_cameras_are_tracked_as_they_run():
    def camera(rate, start, asked):
        for k in range(1000):
            asked.append(start + k / rate)
            yield Frame(np.full((20, 30, 1), k % 256, np.uint8), start + k / rate, str(k))

    asked = [], []
    frames = camera(25, 5.0, asked[0]), camera(10, 5.3, asked[1])
    first, second = track_live(*frames, window=2.0)
    assert len(first.times) >= 50 and first.times[-1] - first.times[0] <= 2.0
    assert second.times[0] == 5.3 and abs(second.times[-1] - first.times[-1]) <= 0.2
    assert abs(asked[0][-1] - asked[1][-1]) <= 0.2  # neither is left to run full
    ended, _ = track_live(iter(frames_of(3)), iter(frames_of(100)), window=2.0)
    assert len(ended.times) == 3


def frames_of(number):
    return [Frame(np.zeros((20, 30, 1), np.uint8), k / 25, '') for k in range(number)]


def test_the_offset_of_two_cameras_is_estimated_before_they_are_fused(monkeypatch):
    monkeypatch.setattr('mmfusion.video.aligning.LIVE_WINDOW', 4.0)
    sequence = DemoSequence((96, 128), seed=1)
    streams = [
        RenderedStream(sequence, 'visible', 125, 25),
        RenderedStream(sequence, 'infrared', 125, 25, 0.013, 0.12),
    ]
    for stream in streams:
        stream.live = True
    # nothing may be dropped here, where frames come as fast as they are rendered
    monkeypatch.setattr('mmfusion.video.fusing.ReadAhead', lambda stream: ReadAhead(stream, size=200))
    with FusedVideo(*streams, FusionInferencer('AverageFuser'), offset='auto', max_offset=1.0) as video:
        assert abs(video.estimate.offset - 0.12) < 0.01 and video.offset == video.estimate.offset
        times = [frame.time for frame in video]
    assert times and min(times) > 3.9  # those before went into the estimate


def test_an_ended_stream_ends_for_everybody():
    reader = ReadAhead(RenderedStream(DemoSequence((64, 64), seed=0), 'infrared', 4))
    assert (len(list(reader)), len(list(reader))) == (4, 0)
    reader.close()


def test_an_offset_without_motion_is_refused():
    rng = np.random.default_rng(0)
    noise = [[Frame(rng.integers(0, 60, (40, 50, 1), dtype=np.uint8), k / 25, '') for k in range(60)] for _ in range(2)]
    estimate = estimate_offset(*(MotionTrack(one) for one in noise), max_offset=1.0)
    assert not estimate.accepted and 'hardly agrees' in estimate.reasons[0]
    still = [[Frame(np.full((40, 50, 1), 9, np.uint8), k / 25, '') for k in range(60)] for _ in range(2)]
    assert not estimate_offset(*(MotionTrack(one) for one in still), max_offset=1.0).accepted
