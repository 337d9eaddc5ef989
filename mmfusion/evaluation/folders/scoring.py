"""Scoring fused images on disk: one after the other, in worker processes, or in batches on a GPU."""

import contextlib
import itertools
import multiprocessing
import signal
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np
import torch
from torch import Tensor

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_image, to_working_range
from mmfusion.utils import UserError

from ..protocols import evaluate_metrics, prepare_images
from .journal import Identity, file_identity
from .matching import Scene
from .memory import keep_freed_memory

AHEAD = 4  # pieces of work per worker that wait or are under way


class Rating(NamedTuple):
    """How to score.

    Attributes:
        metrics: Names of metrics.
        protocol: Name of the protocol.
        bit_depth: Significant bits of 16-bit files, None for all.
    """

    metrics: Tuple[str, ...]
    protocol: str = 'default'
    bit_depth: Optional[int] = None


class Score(NamedTuple):
    """The score of one fused image.

    Attributes:
        name: Name of the scene.
        method: Name of the method.
        values: The values; empty when there are none.
        error: Why there are none, or empty.
        files: Identities of fused image and sources, taken before they were read.
        jpeg: Whether the fused image is a JPEG file.
        seconds: CPU time of the scoring alone, or wall time per image on a GPU; reading and conversion not included.
    """

    name: str
    method: str
    values: Dict[str, float] = {}
    error: str = ''
    files: Tuple[Identity, ...] = ()
    jpeg: bool = False
    seconds: float = 0.0


def load_image(path: str, bit_depth: Optional[int] = None) -> Tensor:
    """Read an image as the data sets do.

    Args:
        path: A png, jpg, bmp or tif file, 8 or 16 bit or float, gray or color.
        bit_depth: Significant bits of a 16-bit file.

    Returns:
        (1, C, H, W), C = 1 or 3 (RGB), uint8, or float32 in [0, 1] for files of more bits.

    Raises:
        PairDataError: The file is absent, damaged, or its values are out of range.
    """
    image = to_working_range(read_image(path), path, bit_depth)
    return torch.from_numpy(np.stack(cv2.split(image)[::-1])).unsqueeze(0)


def load_scene(scene: Scene, rating: Rating) -> Iterator[Tuple[Score, Optional[List[Tensor]]]]:
    """Read the sources once and the fused images one by one.

    Yields:
        For each method a score that still lacks its values, and the images in the form that the protocol rates; None
        where the score names an error.
    """
    try:
        marks = [file_identity(path) for path in (scene.first, scene.second)]
        sources = [load_image(path, rating.bit_depth) for path in (scene.first, scene.second)]
        _check_sizes(scene.first, sources[0], scene.second, sources[1])
    except (PairDataError, OSError) as error:
        yield from ((Score(scene.name, method, error=str(error)), None) for method in scene.fused)
        return
    for method, path in scene.fused.items():
        try:
            mark = file_identity(path)
            fused = load_image(path, rating.bit_depth)
            _check_sizes(path, fused, scene.first, sources[0])
        except (PairDataError, OSError) as error:
            yield Score(scene.name, method, error=str(error)), None
            continue
        yield (
            Score(scene.name, method, files=(mark, *marks), jpeg=is_jpeg(path)),
            prepare_images([fused, *sources], rating.protocol),
        )


def is_jpeg(path: str) -> bool:
    """Whether a file holds JPEG data, whatever its name says."""
    with open(path, 'rb') as file:
        return file.read(2) == b'\xff\xd8'


def _check_sizes(path: str, image: Tensor, other_path: str, other: Tensor) -> None:
    if image.shape[-2:] != other.shape[-2:]:
        (h, w), (other_h, other_w) = image.shape[-2:], other.shape[-2:]
        raise PairDataError(
            'size mismatch',
            f'{path} has {w}x{h} pixels, {other_path} {other_w}x{other_h}; metrics compare pixel by pixel',
        )


def score_scene(scene: Scene, rating: Rating) -> List[Score]:
    """Score all fused images of a scene on the CPU."""
    scores = []
    for score, images in load_scene(scene, rating):
        if images is not None:
            start = time.process_time()
            values = evaluate_metrics(rating.metrics, *images, protocol=rating.protocol)
            score = score._replace(
                values={key: value.item() for key, value in values.items()}, seconds=time.process_time() - start
            )
        scores.append(score)
    return scores


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """One thread of torch and OpenCV: with several, they get in each other's way on arrays of this size."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process stops the workers
    keep_freed_memory()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def score_on_cpu(scenes: Iterable[Scene], rating: Rating, workers: int = 1) -> Iterator[Score]:
    """Score scenes in worker processes of one thread each, or in this process with one worker; in the order in which
    they are done.

    Raises:
        UserError: A worker was killed, for lack of memory for example.
    """
    if workers <= 1:
        with single_thread():
            for scene in scenes:
                yield from score_scene(scene, rating)
        return
    scenes = iter(scenes)
    # spawned, not forked: a fork copies the state of thread pools and of a GPU without their threads
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'), _start_worker)
    try:
        pending = {pool.submit(score_scene, scene, rating) for scene in itertools.islice(scenes, AHEAD * workers)}
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            pending |= {pool.submit(score_scene, scene, rating) for scene in itertools.islice(scenes, len(done))}
            for future in done:
                yield from future.result()
    except BrokenProcessPool as error:
        raise UserError(
            'a worker process was killed, perhaps out of memory; run the command again to go on, with fewer --workers'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def score_in_batches(
    scenes: Iterable[Scene], rating: Rating, device: str = 'cuda', batch_size: int = 16, workers: int = 2
) -> Iterator[Score]:
    """Score scenes in batches of images of one size; threads read the files meanwhile.

    Raises:
        UserError: The memory of the GPU is not enough.
    """
    pending: Dict[tuple, list] = {}
    for score, images in _read_ahead(scenes, rating, workers):
        if images is None:
            yield score
            continue
        waiting = pending.setdefault(tuple(images[0].shape), [])
        waiting.append((score, images))
        # many sizes must not pile up images
        full = len(waiting) == batch_size or sum(map(len, pending.values())) >= AHEAD * batch_size
        if full:
            yield from _score_batch(pending.pop(max(pending, key=lambda shape: len(pending[shape]))), rating, device)
    for batch in pending.values():
        yield from _score_batch(batch, rating, device)


def _read_ahead(scenes: Iterable[Scene], rating: Rating, workers: int) -> Iterator[tuple]:
    scenes = iter(scenes)
    with ThreadPoolExecutor(max(1, workers)) as pool:

        def submit(count: int) -> list:
            return [
                pool.submit(lambda scene: list(load_scene(scene, rating)), scene)
                for scene in itertools.islice(scenes, count)
            ]

        queue = submit(AHEAD * max(1, workers))
        while queue:
            yield from queue.pop(0).result()
            queue += submit(1)


def _score_batch(batch: Sequence[tuple], rating: Rating, device: str) -> Iterator[Score]:
    cuda = torch.device(device).type == 'cuda'
    try:
        stacks = [torch.cat(images).to(device) for images in zip(*(images for _, images in batch))]
        if cuda:
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        values = evaluate_metrics(rating.metrics, *stacks, protocol=rating.protocol)
        values = {key: value.tolist() for key, value in values.items()}  # waits for the GPU
    except torch.cuda.OutOfMemoryError as error:
        height, width = batch[0][1][0].shape[-2:]
        raise UserError(
            f'the GPU has not enough memory for {len(batch)} images of {width}x{height} at once; lower --batch-size'
        ) from error
    seconds = (time.perf_counter() - start) / len(batch)
    for i, (score, _) in enumerate(batch):
        yield score._replace(values={key: column[i] for key, column in values.items()}, seconds=seconds)
