"""One login at Alpaca: its keys, and where its services are: paper's, live money's, or a local one."""

from __future__ import annotations

from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

PAPER_URL: Final = "https://paper-api.alpaca.markets"
LIVE_URL: Final = "https://api.alpaca.markets"
DATA_URL: Final = "https://data.alpaca.markets"
STREAM_URL: Final = "wss://stream.data.alpaca.markets"
PAPER_KEY: Final = "PK"
LIVE_KEY: Final = "AK"
"""What Alpaca's key ids begin with, by which paper and live money are told apart."""


class Login(NamedTuple):
    """Keys and addresses. Its text leaves the keys out."""

    key: str
    secret: str
    trading: str
    """REST for orders and accounts, without version."""
    data: str
    """REST for market data, without version."""
    stream: str
    """Market data streams, without version."""
    updates: str
    """The order-update stream."""

    @classmethod
    def of(cls, key: str, secret: str, *, live: bool, url: str | None = None) -> Self:
        """Find the services: Alpaca's own, or all of them at one other address."""
        trading = url.rstrip("/") if url is not None else LIVE_URL if live else PAPER_URL
        return cls(
            key=key,
            secret=secret,
            trading=trading,
            data=DATA_URL if url is None else trading,
            stream=STREAM_URL if url is None else _socket(trading),
            updates=f"{_socket(trading)}/stream",
        )

    def __repr__(self) -> str:
        return f"Login({self.trading})"


def _socket(url: str) -> str:
    """Give the address of a WebSocket beside an HTTP service."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(scheme={"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)))
