"""The page over HTTP: fuses as the inferencer does, and keeps out what does not belong."""

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import zipfile

import cv2
import numpy as np
import pytest
import tiny_models
from tiny_config import write_tiny_config

from mmfusion.apis import FusionInferencer
from mmfusion.cli.main import main
from mmfusion.serve.jobs import Job
from mmfusion.serve.settings import ServeSettings
from mmfusion.utils import UserError

pytest.importorskip('starlette', reason='the page needs starlette (requirements/serve.txt)')
pytest.importorskip('uvicorn', reason='the page needs uvicorn (requirements/serve.txt)')
from page_server import running_page  # noqa: E402


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A colored and a gray picture, and a second gray one of another size."""
    folder, generator = tmp_path_factory.mktemp('files'), np.random.default_rng(0)
    shapes = {'vi.png': (40, 56, 3), 'ir.png': (40, 56), 'wide.png': (48, 96)}
    for name, shape in shapes.items():
        cv2.imwrite(str(folder / name), generator.integers(0, 255, shape).astype(np.uint8))
    return folder


@pytest.fixture(scope='module')
def page(tmp_path_factory, registered_modules):
    config = write_tiny_config(tmp_path_factory.mktemp('config'))
    with running_page(ServeSettings(config=str(config), device='cpu', max_bytes=100_000)) as page:
        yield page
    assert not os.path.exists(page.state.uploads.folder)


def send_pair(page, files, second='ir.png'):
    return [page.send(name, (files / name).read_bytes()).json['key'] for name in ('vi.png', second)]


def test_the_page_comes_from_the_package(page):
    answer = page.ask('/')
    assert answer.status == 200 and b'page/app.js' in answer.content
    assert "default-src 'none'" in answer.headers['content-security-policy']
    for name in ('app.css', 'app.js', 'view.js', 'icon.svg'):
        content = page.ask(f'/page/{name}').content
        assert content and b'//cdn' not in content and b'https://' not in content
    for path in ('/page/../app.py', '/page/%2e%2e%2fapp.py', '/page/app.py', '/etc/passwd', '/page/%2fetc%2fpasswd'):
        assert page.ask(path).status == 404, path


def test_equal_to_the_inferencer(page, files, tmp_path):
    keys = send_pair(page, files)
    job = page.run(pairs=[keys], model='plain_conv_rendered')
    assert job['state'] == 'done', job
    (result,) = job['results']
    assert (result['name'], result['height'], result['width']) == ('vi', 40, 56)
    FusionInferencer('plain_conv_rendered')(files / 'vi.png', files / 'ir.png', out_dir=tmp_path / 'fused.png')
    mine = page.ask(f'/jobs/{job["key"]}/0/fused.png')
    assert mine.content == (tmp_path / 'fused.png').read_bytes() and mine.headers['content-type'] == 'image/png'
    source = cv2.imdecode(np.frombuffer(page.ask(f'/jobs/{job["key"]}/0/first.png').content, np.uint8), -1)
    assert np.array_equal(source, cv2.imread(str(files / 'vi.png')))
    assert set(result['metrics']) == {'EN', 'SD', 'SF', 'AG', 'MI', 'SCD', 'VIF', 'Qabf', 'SSIM'}
    assert job['command'] == 'mmfusion fuse vi.png ir.png --model plain_conv_rendered'
    assert page.ask(f'/jobs/{job["key"]}/0/classes.png').status == 404
    assert page.ask(f'/jobs/{job["key"]}/1/fused.png').status == 404
    assert str(page.state.uploads.folder) not in json.dumps(job)


def test_sixteen_bits(page, files, tmp_path):
    keys = send_pair(page, files)
    deep, shallow = (page.run(pairs=[keys], model='plain_conv_rendered', bits=bits) for bits in (16, 8))
    FusionInferencer('plain_conv_rendered')(
        files / 'vi.png', files / 'ir.png', out_dir=tmp_path / 'fused.png', bit_depth=16
    )
    assert page.ask(f'/jobs/{deep["key"]}/0/fused.png').content == (tmp_path / 'fused.png').read_bytes()
    assert deep['command'].endswith('--bit-depth 16') and deep['results'][0]['bits'] == 16
    metrics = [job['results'][0]['metrics'] for job in (deep, shallow)]
    assert [metric for metric, value in metrics[0].items() if value is None] == ['VIF']  # too small for its windows
    for metric, value in metrics[0].items():
        assert value is None or value == pytest.approx(metrics[1][metric], rel=1e-2)


@pytest.mark.parametrize(
    'request_, words',
    [
        (dict(model='plain_conv_rendered'), ['--model', 'plain_conv_rendered']),
        (dict(model='LaplacianPyramidFuser', bits=16), ['--config', 'LaplacianPyramidFuser', '--bit-depth', '16']),
        (dict(model='AverageFuser', stretch=True), ['--config', 'AverageFuser', '--stretch', '1', '99']),
        (dict(model='AverageFuser', tile='auto'), ['--config', 'AverageFuser', '--tile', 'auto']),
    ],
)
def test_the_command_line_does_the_same(request_, words, page, files, tmp_path, monkeypatch):
    names = '-vi of today.png', 'ir.png'  # a name is no option
    for name, file in zip(names, ('vi.png', 'ir.png')):
        shutil.copy(files / file, tmp_path / name)
    keys = [page.send(name.replace(' ', '%20'), (tmp_path / name).read_bytes()).json['key'] for name in names]
    job = page.run(pairs=[keys], metrics=False, **request_)
    command = shlex.split(job['command'])
    assert command == ['mmfusion', 'fuse', './-vi of today.png', 'ir.png', *words]
    monkeypatch.chdir(tmp_path)
    main([*command[1:], '--out', 'mine.png', '--device', 'cpu'])
    assert (tmp_path / 'mine.png').read_bytes() == page.ask(f'/jobs/{job["key"]}/0/fused.png').content


def smooth(height, width, channels):
    """A picture that packs well."""
    y, x = np.mgrid[:height, :width]
    return np.stack([127 + 120 * np.sin(x / 40 + part) * np.cos(y / 30) for part in range(channels)], -1).astype(
        np.uint8
    )


def test_tiles(page, tmp_path):
    """As the inferencer cuts, with progress for each tile and the same command line."""
    for name, channels in (('vi', 3), ('ir', 1)):
        cv2.imwrite(str(tmp_path / f'{name}.png'), smooth(520, 560, channels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page.state.settings, 'max_bytes', 2**24)
        keys = [page.send(name, (tmp_path / name).read_bytes()).json['key'] for name in ('vi.png', 'ir.png')]
    seen, count = [], Job.count_tiles
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, 'count_tiles', lambda job, *tiles: seen.append((tiles, job.done)) or count(job, *tiles))
        job = page.run(pairs=[keys, keys], model='AverageFuser', tile=512, metrics=False)
        assert seen == [((done, 4), pair) for pair in (0, 1) for done in range(5)]
        job = page.run(pairs=[keys], model='plain_conv', tile=512, metrics=False)
    assert job['state'] == 'done' and 'tiles' not in job and len(seen) == 15, job
    FusionInferencer('plain_conv', tile=(512, 512))(
        tmp_path / 'vi.png', tmp_path / 'ir.png', out_dir=tmp_path / 'fused.png'
    )
    assert page.ask(f'/jobs/{job["key"]}/0/fused.png').content == (tmp_path / 'fused.png').read_bytes()
    assert job['command'] == 'mmfusion fuse vi.png ir.png --model plain_conv --tile 512'


def test_boxes_of_a_config_with_a_detector(page, files):
    name = page.ask('/models').json['models'][0]['name']
    assert name.endswith('(your config)')
    coupling = page.state.fusing.models.get(name).coupling
    for key, parameter in coupling.tasks.named_parameters():
        if key.endswith('bias') and ('rtm_cls' in key or 'rtm_reg' in key):
            parameter.data.fill_(1)  # a random detector that sees something everywhere
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmfusion.serve.fusing.LEAST_SCORE', 0.0)
        job = page.run(pairs=[send_pair(page, files)], model=name, metrics=False)
    (result,) = job['results']
    assert result['boxes'] and {'box', 'score', 'label'} == set(result['boxes'][0]) and 'metrics' not in result
    assert '--config' in job['command'] and '--boxes' in job['command']


def test_class_map_of_a_config_with_a_segmentor(files, tmp_path, registered_modules):
    config = tmp_path / 'seg.py'
    config.write_text(
        'default_scope = "mmfusion"\n'
        f'model = dict(type="JointCoupling", fuser=dict(type="AverageFuser"), '
        f'tasks=dict(seg={tiny_models.segmentor()!r}))\n'
        'test_dataloader = dict(dataset=dict(type="MSRSSegDataset", metainfo=dict(seg_classes=("road", "car", '
        '"person")), pipeline=['
        'dict(type="LoadPair"), dict(type="Paired", transform=dict(type="mmdet.Resize", scale=(56, 40), '
        'keep_ratio=False)), '
        'dict(type="PackFusionInputs")]))\n'
    )
    with running_page(ServeSettings(config=str(config), device='cpu')) as page:
        name = page.ask('/models').json['models'][0]['name']
        job = page.run(pairs=[send_pair(page, files)], model=name)
        (result,) = job['results']
        shown = cv2.imdecode(np.frombuffer(page.ask(f'/jobs/{job["key"]}/0/classes.png').content, np.uint8), -1)
    assert result['pictures'] == ['fused', 'classes', 'first', 'second'] and shown.shape == (40, 56, 3)
    colors = {tuple(entry['color']) for entry in result['classes']}
    assert {tuple(color) for color in shown[..., ::-1].reshape(-1, 3).tolist()} == colors
    assert {entry['name'] for entry in result['classes']} <= {'road', 'car', 'person'}


def test_a_batch_goes_on_beyond_a_bad_pair(page, files):
    good, bad = send_pair(page, files), send_pair(page, files, 'wide.png')
    job = page.run(pairs=[good, bad, good], model='AverageFuser', metrics=False)
    assert [result['name'] for result in job['results']] == ['vi', 'vi_1', 'vi_2']
    assert ['skipped' in result for result in job['results']] == [False, True, False]
    assert 'wide.png' in job['results'][1]['skipped'] and page.state.uploads.folder not in str(job)
    with zipfile.ZipFile(io.BytesIO(page.ask(f'/jobs/{job["key"]}/all.zip').content)) as archive:
        assert archive.namelist() == ['vi.png', 'vi_2.png']
        assert archive.read('vi.png') == page.ask(f'/jobs/{job["key"]}/0/fused.png').content


def test_sizes_that_differ_are_one_message(page, files):
    job = page.run(pairs=[send_pair(page, files, 'wide.png')], model='AverageFuser')
    assert job['state'] == 'failed' and '56x40' in job['error'] and page.state.uploads.folder not in job['error']


def test_cancelling_stops_the_network(page, files):
    """The job ends while its network runs, before the next layer."""
    reached, go_on = threading.Event(), threading.Event()
    fuse = page.state.fusing.models.get('plain_conv')

    def hold(module, arguments):
        reached.set()
        assert go_on.wait(30)

    handle = fuse.coupling.fuser.register_forward_pre_hook(hold)
    try:
        request = dict(pairs=[send_pair(page, files)], model='plain_conv')
        key = page.ask('/jobs', json.dumps(request).encode()).json['key']
        assert reached.wait(60)
        assert page.ask(f'/jobs/{key}', method='DELETE').status == 204
        go_on.set()
        assert page.state.queue[key].ended.wait(30) and page.ask(f'/jobs/{key}').json['state'] == 'canceled'
    finally:
        go_on.set()
        handle.remove()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'{', 'no JSON'),
        (b'[]', 'an object of JSON'),
        (b'{"model": "AverageFuser"}', "missing key 'pairs'"),
        (b'{"model": "AverageFuser", "pairs": []}', 'at least one'),
        (b'{"model": "AverageFuser", "pairs": [["a"]]}', 'at least one'),
        (b'{"model": "AverageFuser", "pairs": [["a", "b"]]}', 'not here any more'),
        (b'{"model": "/etc/passwd", "pairs": [["a", "b"]]}', 'no model'),
        (b'{"model": "AverageFuser", "pairs": [["a", "b"]], "out_dir": "/tmp"}', "unknown key 'out_dir'"),
        (b'{"model": "AverageFuser", "pairs": [["a", "b"]], "metrics": 1}', 'metrics must be of type bool'),
        (b'{"model": "AverageFuser", "pairs": [["a", "b"]], "bits": 12}', 'bits must be 8 or 16'),
        (b'{"model": "AverageFuser", "pairs": [["a", "b"]], "tile": 257}', 'tile must be null, "auto" or one of 512'),
        (b'{"model": "AverageFuser", "pairs": [["a", "b"]], "tile": [512]}', 'tile must be null, "auto" or one of 512'),
        (b'{"model": "AverageFuser", "pairs": [["a", "b"]], "protocol": "x"}', "unknown protocol 'x'"),
        (b'{"model": "AverageFuser", "pairs": [["a", "b"]], "fuser_options": {"shift": 1}}', 'has no option shift'),
    ],
)
def test_bad_requests(page, content, message):
    answer = page.ask('/jobs', content)
    assert answer.status == 400 and message in answer.json['error']


def test_limits_and_unknown_names(page):
    assert 'MiB' in page.ask('/uploads', bytes(100_001)).json['error']
    assert page.ask('/jobs', bytes(5 * 2**20)).status == 413
    assert page.ask('/uploads/abc').status == page.ask('/jobs/abc').status == 404
    assert page.ask('/pairs/dawn', b'').status == 404


def test_rendered_pairs(page):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page.state.settings, 'max_bytes', 2**24)
        first, second = page.ask('/pairs/night', b'').json
    assert (first['name'], first['channels'], second['name'], second['channels']) == (
        'visible.png',
        3,
        'infrared.png',
        1,
    )
    shown = page.ask(f'/uploads/{first["key"]}')
    assert cv2.imdecode(np.frombuffer(shown.content, np.uint8), -1).shape == (480, 640, 3)
    assert page.ask(f'/uploads/{first["key"]}', method='DELETE').status == 204


def test_other_pages_and_names_are_refused(page):
    assert page.ask('/models', host='evil.example').status == 403
    assert page.ask('/models', host='127.0.0.1.evil.example:80').status == 403
    assert page.ask('/uploads', b'x', origin='http://evil.example').status == 403
    assert page.ask('/uploads', b'x', origin='null').status == 403
    assert page.ask('/uploads', b'x', origin=page.address).status == 400  # no image, but asked by the page itself
    assert 'access-control-allow-origin' not in {name.lower() for name in page.ask('/models').headers}


def test_token(registered_modules):
    with running_page(ServeSettings(host='0.0.0.0', device='cpu')) as page:
        token = page.state.settings.token
        assert len(token) >= 16 and page.ask('/').status == page.ask('/models').status == 401
        assert page.ask('/?token=wrong').status == 401 and page.ask('/models', cookie='mmfusion_token=x').status == 401
        assert page.ask('/models', authorization=f'Bearer {token}').status == 200
        assert page.ask('/models', cookie=f'mmfusion_token={token}').status == 200
        # the address with the token leads to the one without, with a cookie that scripts cannot read; urllib keeps none
        assert page.ask(f'/?token={token}').status == 401


def test_settings():
    assert ServeSettings().token is None and ServeSettings(host='0.0.0.0').token
    assert ServeSettings(host='::1').loopback and not ServeSettings(host='192.168.0.2').loopback
    for wrong, message in (
        (dict(port=70000), 'ports go from 0'),
        (dict(token='short'), 'can be guessed'),
        (dict(weights='a.pth'), 'needs the --config'),
        (dict(max_bytes=0), 'must be above 0'),
    ):
        with pytest.raises(UserError, match=message):
            ServeSettings(**wrong)


def test_the_server_leaves_open_logs_alone(tmp_path):
    import logging

    from mmfusion.serve.app import make_server

    handler = logging.FileHandler(tmp_path / 'training.log')
    make_server(None)
    assert handler.stream is not None  # closed handlers have lost it
    handler.close()


def test_packages_that_are_missing(monkeypatch):
    import importlib.util

    from mmfusion.serve import create_app

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'uvicorn' else real(name))
    with pytest.raises(UserError, match='the page needs uvicorn: pip install'):
        create_app()


@pytest.mark.slow
def test_command_until_ctrl_c(tmp_path):
    """The command says where the page is, answers there, and leaves nothing behind."""
    import re
    import signal
    import urllib.request

    environment = dict(os.environ, TMPDIR=str(tmp_path))
    command = [sys.executable, '-m', 'mmfusion', 'serve', '--port', '0', '--device', 'cpu']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        address = re.search(r'http://\S+', process.stdout.readline())[0]
        assert b'mmfusion' in urllib.request.urlopen(address, timeout=60).read()
        assert [path.name.startswith('mmfusion-serve-') for path in tmp_path.iterdir()] == [True]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)
    assert not list(tmp_path.iterdir())
