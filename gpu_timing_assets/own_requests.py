"""What both servers of this machine answer: requests of its own pages, none that a page elsewhere
sends through a person's browser.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Rule = Callable[[Scope], str | None]

OWN_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


def foreign(scope: Scope) -> str | None:
    """Why a request is not of this server's own pages; None if it is.

    The host is one of this machine's own names, so that no name of somebody else's that resolves to
    loopback will do. Where a browser says which page asks, it is one of this very server.
    """
    hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
    if len(hosts) != 1 or _without_port(hosts[0]) not in OWN_NAMES:
        return f"this server is not {', '.join(hosts) or 'without a name'}: open it as localhost"
    if any(origin != f"http://{hosts[0]}" for origin in origins):
        return f"a page of {', '.join(origins)} may not ask this server"
    return None


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isdecimal() else host.lower()


class OwnRequestsOnly:
    """ASGI middleware: 403 to a request, also one for a WebSocket, that one of `rules` refuses;
    `headers` go out with every answer of the application.
    """

    def __init__(
        self,
        app: Application,
        rules: tuple[Rule, ...] = (foreign,),
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self._app, self._rules, self._headers = app, rules, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        reasons = (rule(scope) for rule in self._rules)
        if scope["type"] == "lifespan" or not (why := next(filter(None, reasons), None)):
            await self._app(scope, receive, send_with_headers)
        elif scope["type"] == "websocket":
            await receive()  # its opening, which is refused: the server answers 403
            await send({"type": "websocket.close", "code": 1008, "reason": why})
        else:
            text = [(b"content-type", b"text/plain; charset=utf-8")]
            await send_with_headers({"type": "http.response.start", "status": 403, "headers": text})
            await send({"type": "http.response.body", "body": why.encode()})
