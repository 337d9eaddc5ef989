"""The local page: an ASGI application of Starlette, and its server."""

import asyncio
import contextlib
import socket
from typing import Optional

from mmfusion.utils.errors import UserError

from .settings import ServeSettings

PACKAGES = ('starlette', 'uvicorn')
SWEEP = 30.0  # seconds between two looks for what is old


def create_app(settings: Optional[ServeSettings] = None):
    """The page as an ASGI application; its queue and its folder live as long as its lifespan.

    Args:
        settings: Settings; those of ``mmfusion serve`` without options when None.

    Returns:
        starlette.applications.Starlette: With ``state.fusing``, ``state.queue`` and ``state.uploads`` while it runs.

    Raises:
        UserError: Starlette is not installed, or the config of the settings cannot be built.
    """
    _check_packages()
    from starlette.applications import Starlette
    from starlette.middleware import Middleware

    from mmfusion.utils import register_all_modules

    from .fusing import Fusing
    from .guard import Guard
    from .jobs import JobQueue
    from .routes import build_routes
    from .uploads import Uploads

    settings = settings or ServeSettings()
    register_all_modules()
    uploads = Uploads(settings.max_pixels, settings.max_files)
    try:
        fusing = Fusing(settings, uploads)
    except BaseException:
        uploads.close()
        raise
    queue = JobQueue(Fusing.forget)

    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEEP)
            queue.remove_older(60 * settings.keep_minutes)
            uploads.remove_older(60 * settings.keep_minutes)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        sweeper = asyncio.create_task(sweep())
        try:
            yield
        finally:
            sweeper.cancel()
            queue.close()
            uploads.close()

    app = Starlette(routes=build_routes(), lifespan=lifespan, middleware=[Middleware(Guard, settings=settings)])
    app.state.settings, app.state.uploads, app.state.fusing, app.state.queue = settings, uploads, fusing, queue
    return app


def serve(settings: ServeSettings) -> None:
    """Run the page until Ctrl-C.

    Raises:
        UserError: A package is missing, the config cannot be built, or the address cannot be listened on.
    """
    _check_packages()

    app = create_app(settings)
    family = socket.AF_INET6 if ':' in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            app.state.queue.close()
            app.state.uploads.close()
            raise UserError(
                f'cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose another with --port'
            ) from error
        port = listener.getsockname()[1]
        host = f'[{settings.host}]' if ':' in settings.host else settings.host
        token = f'?token={settings.token}' if settings.token else ''
        print(f'open http://{host}:{port}/{token} in a browser; Ctrl-C ends', flush=True)
        if not settings.loopback:
            print('the page can be reached from other machines; whoever knows the token can use it', flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            make_server(app).run(sockets=[listener])


def make_server(app, **options):
    """Server of the page that leaves the logs of the process alone: uvicorn's own settings would close the files of
    every other logger.
    """
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(app, log_config=None, log_level='warning', server_header=False, access_log=False, **options)
    )


def _check_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(
            f'the page needs {" and ".join(missing)}: pip install -c requirements/constraints.txt -r '
            f'requirements/serve.txt, '
            "or pip install 'mmfusion[serve]'"
        )
