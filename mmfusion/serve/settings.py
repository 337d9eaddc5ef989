"""Settings of the local page."""

import ipaddress
import secrets
from dataclasses import dataclass, field
from typing import Optional, Tuple

from mmfusion.utils.errors import UserError

LOOPBACK_NAMES = ('localhost', '127.0.0.1', '[::1]')
#: Shortest token that is taken, in characters: what cannot be guessed while somebody tries for a year.
LEAST_TOKEN = 16


@dataclass
class ServeSettings:
    """What the page offers and how much it takes.

    Args:
        host: Address to listen on.
        port: Port; 0 for any that is free.
        token: What a visitor must know. Made up when the address is not loopback and none is given.
        device: ``'cpu'``, ``'cuda'``, ``'cuda:1'``, or None for a GPU if there is one.
        config: Config file, or name of one that ships, that is offered beside the trained models; with a detector or
            segmentor in it, boxes and class maps are shown.
        weights: Checkpoint for it.
        max_bytes: Largest upload, in bytes.
        max_pixels: Largest picture, in pixels.
        max_files: Uploads that are kept at once.
        keep_minutes: Time after which uploads and results that nobody asked for are removed.

    Raises:
        UserError: The port or a limit is out of range, or the token is short.
    """

    host: str = '127.0.0.1'
    port: int = 8765
    token: Optional[str] = None
    device: Optional[str] = None
    config: Optional[str] = None
    weights: Optional[str] = None
    max_bytes: int = 64 * 2**20
    max_pixels: int = 2**25
    max_files: int = 2000
    keep_minutes: float = 60
    loopback: bool = field(init=False)

    def __post_init__(self) -> None:
        self.loopback = is_loopback(self.host)
        if not 0 <= self.port < 2**16:
            raise UserError(f'--port {self.port}: ports go from 0 to 65535')
        for name in ('max_bytes', 'max_pixels', 'max_files', 'keep_minutes'):
            if getattr(self, name) <= 0:
                raise UserError(f'{name} must be above 0, got {getattr(self, name)}')
        if self.weights is not None and self.config is None:
            raise UserError('--weights needs the --config that they were trained with')
        if self.token is None and not self.loopback:
            self.token = secrets.token_urlsafe(24)
        if self.token is not None and len(self.token) < LEAST_TOKEN:
            raise UserError(
                f'a token of {len(self.token)} characters can be guessed; give at least {LEAST_TOKEN}, '
                f'or none to have one made'
            )

    @property
    def host_names(self) -> Optional[Tuple[str, ...]]:
        """Names by which a browser on this machine may call the page; None where it is reachable from elsewhere, by any
        name.
        """
        return LOOPBACK_NAMES if self.loopback else None


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine alone.

    Examples:
        >>> is_loopback('127.0.0.1'), is_loopback('localhost'), is_loopback('0.0.0.0')
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'
