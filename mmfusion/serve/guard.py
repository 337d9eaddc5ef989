"""Who may ask, and what a browser may do with the answers."""

import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Callable, Optional
from urllib.parse import parse_qs, urlsplit

from starlette.responses import JSONResponse, RedirectResponse

from .settings import ServeSettings

COOKIE = 'mmfusion_token'
#: Nothing is loaded from elsewhere, nothing is run that does not come with the package, no other page may frame this
#: one.
HEADERS = {
    b'content-security-policy': b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b'x-content-type-options': b'nosniff',
    b'referrer-policy': b'no-referrer',
    b'cross-origin-opener-policy': b'same-origin',
    b'cross-origin-resource-policy': b'same-origin',
    b'cache-control': b'no-store',
}


class Guard:
    """ASGI middleware: refuses foreign host names (DNS rebinding), requests of other pages, and visitors without the
    token.

    Args:
        app: What comes behind it.
        settings: ``host_names`` and ``token`` are used.
    """

    def __init__(self, app: Callable, settings: ServeSettings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Handle a request."""
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: dict) -> None:
            if message['type'] == 'http.response.start':
                message = dict(message, headers=[*message.get('headers', ()), *HEADERS.items()])
            await send(message)

        headers = {name.decode('latin-1').lower(): value.decode('latin-1') for name, value in scope['headers']}
        refused = self._refused(scope, headers)
        if refused is not None:
            await refused(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def _refused(self, scope: dict, headers: dict) -> Optional[Callable]:
        host = headers.get('host', '')
        names = self.settings.host_names
        if names is not None and _without_port(host) not in names:
            return _error(403, f'this page is called by {" or ".join(names)}, not by {_without_port(host)!r}')
        origin = headers.get('origin')
        if scope['method'] not in ('GET', 'HEAD') and origin is not None and urlsplit(origin).netloc != host:
            return _error(403, 'requests of other pages are refused')
        return None if self.settings.token is None else self._without_token(scope, headers)

    def _without_token(self, scope: dict, headers: dict) -> Optional[Callable]:
        (given,) = parse_qs(scope['query_string'].decode('latin-1')).get('token', [''])[:1]
        if given and self._right(given) and scope['method'] == 'GET':
            # out of the address, so that it does not stay in the history
            response = RedirectResponse(scope['path'], status_code=303)
            response.set_cookie(COOKIE, given, httponly=True, samesite='strict', path='/')
            return response
        bearer = headers.get('authorization', '')
        if bearer.startswith('Bearer ') and self._right(bearer[len('Bearer ') :]):
            return None
        try:
            cookie = SimpleCookie(headers.get('cookie', '')).get(COOKIE)
        except CookieError:
            cookie = None
        if cookie is not None and self._right(cookie.value):
            return None
        return _error(401, 'open the address with the token that mmfusion serve has printed')

    def _right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), str(self.settings.token).encode())


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(':')
    return (name if colon and port.isdigit() else host).lower()


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse(dict(error=message), status_code=status)
