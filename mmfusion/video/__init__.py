"""Fusing two streams: files, cameras, URLs and sequences of images, paired by time. Names are resolved on first use."""

from mmfusion.utils.lazy import lazy_names

_LAZY = {
    'CaptureStream': 'streams',
    'FolderStream': 'streams',
    'Frame': 'streams',
    'FrameClock': 'writing',
    'FramePair': 'pairing',
    'FrameWriter': 'writing',
    'FusedFrame': 'fusing',
    'FusedVideo': 'fusing',
    'MotionTrack': 'motion',
    'OffsetEstimate': 'offset',
    'PairCounts': 'pairing',
    'PairedFrames': 'pairing',
    'ReadAhead': 'reading',
    'RenderedStream': 'rendered',
    'SequenceEvaluation': 'sequences',
    'SequenceScores': 'scores',
    'SteadyPicture': 'steadying',
    'SteadyWindow': 'steadying',
    'Stream': 'streams',
    'StreamLost': 'streams',
    'estimate_offset': 'offset',
    'open_stream': 'streams',
    'open_streams': 'streams',
    'record': 'recording',
    'score_sequences': 'sequences',
    'write_stream': 'rendered',
}

__all__ = [*_LAZY]
__getattr__, __dir__ = lazy_names(globals(), _LAZY)
