"""The local page on a free port of this machine, for tests."""

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from typing import Iterator, NamedTuple, Optional


class Answer(NamedTuple):
    """What came back: status, headers and bytes."""

    status: int
    headers: dict
    content: bytes

    @property
    def json(self):
        """The content."""
        return json.loads(self.content)


class RunningPage(NamedTuple):
    """A page that runs.

    Attributes:
        address: ``http://127.0.0.1:PORT``.
        state: State of the application: ``queue``, ``uploads``, ``fusing``, ``settings``.
    """

    address: str
    state: object

    def ask(self, path: str, body: Optional[bytes] = None, method: Optional[str] = None, **headers: str) -> Answer:
        """Ask for something; underscores in names of headers stand for dashes."""
        named = {name.replace('_', '-'): value for name, value in headers.items()}
        request = urllib.request.Request(self.address + path, body, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def send(self, name: str, content: bytes) -> Answer:
        """Upload a file."""
        return self.ask('/uploads', content, x_file_name=name)

    def run(self, **request) -> dict:
        """Run a job to its end; its last answer, with its ``key``."""
        answer = self.ask('/jobs', json.dumps(request).encode())
        assert answer.status == 202, answer.content
        while True:
            job = self.ask(f'/jobs/{answer.json["key"]}').json
            if job['state'] not in ('queued', 'running'):
                return dict(job, key=answer.json['key'])
            time.sleep(0.02)


@contextlib.contextmanager
def running_page(settings) -> Iterator[RunningPage]:
    """Serve in a thread; the folder of uploads is removed at the end."""
    from mmfusion.serve import create_app
    from mmfusion.serve.app import make_server

    app = create_app(settings)
    server = make_server(app, host='127.0.0.1', port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), 'the server has ended'
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield RunningPage(f'http://127.0.0.1:{port}', app.state)
    finally:
        server.should_exit = True
        thread.join(30)
