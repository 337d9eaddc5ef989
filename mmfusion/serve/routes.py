"""Answers of the page, by address."""

import asyncio
import os
from io import BytesIO
from json import JSONDecodeError, loads
from pathlib import Path
from typing import List
from urllib.parse import unquote
from zipfile import ZIP_STORED, ZipFile

import cv2
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from mmfusion.datasets import DemoPairs
from mmfusion.evaluation.protocols import PROTOCOLS
from mmfusion.utils.errors import InputError, UserError

from .errors import NotHere, TooLarge
from .fusing import TILES, FusionRequest, picture_of

PAGE = Path(__file__).resolve().parent / 'page'
FILES = {
    'app.css': 'text/css',
    'app.js': 'text/javascript',
    'view.js': 'text/javascript',
    'icon.svg': 'image/svg+xml',
}
SHIPPED_PAIRS = dict(night=dict(seed=3, night_ratio=1.0), day=dict(seed=5, night_ratio=0.0))
KINDS = ('fused', 'first', 'second', 'classes')
LARGEST_REQUEST = 4 * 2**20  # bytes of JSON: some ten thousand pairs


def build_routes() -> List[Route]:
    """All addresses of the page."""
    return [
        Route('/', _index),
        Route('/page/{name}', _file),
        Route('/models', _guarded(_models)),
        Route('/uploads', _guarded(_upload), methods=['POST']),
        Route('/uploads/{key}', _guarded(_preview), methods=['GET']),
        Route('/uploads/{key}', _guarded(_remove_upload), methods=['DELETE']),
        Route('/pairs/{name}', _guarded(_shipped_pair), methods=['POST']),
        Route('/jobs', _guarded(_add_job), methods=['POST']),
        Route('/jobs/{key}', _guarded(_job), methods=['GET']),
        Route('/jobs/{key}', _guarded(_cancel), methods=['DELETE']),
        Route('/jobs/{key}/all.zip', _guarded(_archive)),
        Route('/jobs/{key}/{index:int}/{kind}.png', _guarded(_picture)),
    ]


def _guarded(handler):
    """Errors of a visitor as one line of JSON."""

    async def handle(request):
        try:
            return await handler(request)
        except NotHere:
            return JSONResponse(dict(error='this is not here, or no more'), status_code=404)
        except TooLarge as error:
            text = f'this is larger than {error.limit / 2**20:.0f} MiB; mmfusion serve --max-megabytes takes more'
            return JSONResponse(dict(error=text), status_code=413, headers={'connection': 'close'})
        except UserError as error:
            return JSONResponse(dict(error=str(error)), status_code=400)

    return handle


async def _index(request):
    return FileResponse(PAGE / 'index.html', media_type='text/html; charset=utf-8')


async def _file(request):
    name = request.path_params['name']
    if name not in FILES:  # a list of names, so no path can lead elsewhere
        return Response(status_code=404)
    return FileResponse(PAGE / name, media_type=f'{FILES[name]}; charset=utf-8')


async def _models(request):
    state = request.app.state
    return JSONResponse(
        dict(
            models=state.fusing.models.describe(),
            protocols=list(PROTOCOLS),
            pairs=list(SHIPPED_PAIRS),
            tiles=list(TILES),
            max_bytes=state.settings.max_bytes,
        )
    )


async def _body(request: Request, limit: int) -> bytes:
    """The body, which is not read beyond its limit.

    Raises:
        TooLarge: There is more.
    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise TooLarge(limit)
    return bytes(content)


async def _upload(request):
    content = await _body(request, request.app.state.settings.max_bytes)
    name = unquote(request.headers.get('x-file-name', 'image'))
    return _described(request, await asyncio.to_thread(request.app.state.uploads.add, name, content))


def _described(request, *keys: str):
    described = []
    for key in keys:
        upload = request.app.state.uploads[key]
        described.append(
            dict(
                key=key,
                name=upload.name,
                height=upload.height,
                width=upload.width,
                channels=upload.channels,
                bits=upload.bits,
            )
        )
    return JSONResponse(described if len(described) > 1 else described[0], status_code=201)


async def _shipped_pair(request):
    options = SHIPPED_PAIRS.get(request.path_params['name'])
    if options is None:
        raise NotHere
    uploads = request.app.state.uploads

    def render() -> List[str]:
        pair = DemoPairs(length=1, size=(480, 640), split='test', **options).get_data_info(0)
        named = dict(visible=pair['first'], infrared=pair['second'])
        return [uploads.add(f'{name}.png', cv2.imencode('.png', image)[1].tobytes()) for name, image in named.items()]

    return _described(request, *await asyncio.to_thread(render))


async def _preview(request):
    upload = request.app.state.uploads[request.path_params['key']]
    picture = await asyncio.to_thread(picture_of, upload)
    content = cv2.imencode('.png', picture if picture.ndim == 2 else picture[..., ::-1])[1].tobytes()
    return Response(content, media_type='image/png')


async def _remove_upload(request):
    request.app.state.uploads.remove(request.path_params['key'])
    return Response(status_code=204)


async def _add_job(request):
    try:
        content = loads(await _body(request, LARGEST_REQUEST))
    except (JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise InputError('the request is no JSON') from None
    state = request.app.state
    job = state.fusing.job(FusionRequest.from_json(content))
    return JSONResponse(dict(key=state.queue.add(job)), status_code=202)


async def _job(request):
    queue = request.app.state.queue
    job = queue[request.path_params['key']]
    content = dict(state=job.state, before=queue.waiting_before(job), done=job.done, total=job.total, error=job.error)
    if job.tiles is not None and job.state == 'running':
        content['tiles'] = job.tiles
    if job.state == 'done':
        content.update(job.result)
    return JSONResponse(content)


async def _cancel(request):
    request.app.state.queue.cancel(request.path_params['key'])
    return Response(status_code=204)


async def _picture(request):
    job = request.app.state.queue[request.path_params['key']]
    index, kind = request.path_params['index'], request.path_params['kind']
    if job.state != 'done' or index >= job.total or kind not in KINDS:
        raise NotHere
    path = os.path.join(job.folder, str(index), f'{kind}.png')
    if not os.path.exists(path):
        raise NotHere
    name = job.result['results'][index]['name']
    return FileResponse(path, media_type='image/png', filename=f'{name}_{kind}.png', content_disposition_type='inline')


async def _archive(request):
    job = request.app.state.queue[request.path_params['key']]
    if job.state != 'done':
        raise NotHere

    def pack() -> bytes:
        content = BytesIO()
        with ZipFile(content, 'w', ZIP_STORED) as archive:  # png files are packed already
            for index, result in enumerate(job.result['results']):
                path = os.path.join(job.folder, str(index), 'fused.png')
                if os.path.exists(path):
                    archive.write(path, f'{result["name"]}.png')
        return content.getvalue()

    return Response(
        await asyncio.to_thread(pack),
        media_type='application/zip',
        headers={'content-disposition': 'attachment; filename="fused.zip"'},
    )
