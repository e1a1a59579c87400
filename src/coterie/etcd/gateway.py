"""The JSON gateway: the same calls as HTTP/1.1 requests with JSON bodies (etcd 3.5's grpc-gateway).

Fields have their names in the `.proto` files, bytes are base64, 64-bit numbers are strings, and what has its default is
left out. A streaming method takes any number of JSON values in its body and answers with one line a message.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any, Final

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from coterie.etcd.calls import Caller, Handler, Streaming
from coterie.etcd.gateway_paths import PATHS, Route
from coterie.etcd.services import Services
from coterie.etcd.status import Code
from coterie.runtime.http1.connection import HttpReply, HttpRequest

_LOW_BYTES: Final = 64 * 1024
_JSON: Final = "application/json"
_HTTP: Final = {
    Code.OK: HTTPStatus.OK,
    Code.CANCELLED: HTTPStatus.REQUEST_TIMEOUT,
    Code.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    Code.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    Code.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    Code.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Code.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    Code.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    Code.ABORTED: HTTPStatus.CONFLICT,
    Code.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    Code.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    Code.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""grpc-gateway v1, runtime/errors.go; all others are an internal error."""


class Gateway:
    """Answers what is under /v3/."""

    def __init__(self, services: Services, flush: Callable[[], None]) -> None:
        """`flush`: what is to be done after calls."""
        self._services = services
        self._flush = flush

    async def answer(self, request: HttpRequest) -> HttpReply | None:
        """The answer, or None: there is no such path."""
        route = PATHS.get(request.path)
        if route is None:
            return None
        if request.method != "POST":
            return _refused(Code.UNIMPLEMENTED, "Method Not Allowed", HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            messages = _messages(request.body, route)
        except ValueError as error:
            return _refused(Code.INVALID_ARGUMENT, str(error))
        caller = Caller(request.authorization, request.certified, False)
        if isinstance(self._services.methods[route.path], Streaming):
            return HttpReply(content_type=_JSON, stream=self._stream(route, messages, caller))
        return await self._unary(route, messages[0], caller)

    async def _unary(self, route: Route, message: bytes, caller: Caller) -> HttpReply:
        stream = _One(asyncio.get_running_loop().create_future())
        handler = self._services.call(stream, route.path, caller, message)
        self._flush()
        try:
            code, said = await stream.answer
        except asyncio.CancelledError:
            if handler is not None:
                handler.cancelled()
                self._flush()
            raise
        if isinstance(said, str):
            return _refused(code, said)
        return HttpReply(content_type=_JSON, body=_json(route.response.FromString(said)))

    async def _stream(self, route: Route, messages: list[bytes], caller: Caller) -> AsyncIterator[bytes]:
        stream = _Many(self._flush)
        handler = self._services.open(stream, route.path, caller)
        if handler is not None:
            stream.handler = handler
            for message in messages:
                handler.received(message)
            handler.ended()
        self._flush()
        try:
            while (said := await stream.next()) is not None:
                if isinstance(said, bytes):
                    yield b'{"result":' + _json(route.response.FromString(said)) + b"}\n"
                elif said[0] is not Code.OK:
                    yield _stream_error(*said)
        finally:
            if handler is not None and not stream.finished:
                stream.finished = True
                handler.cancelled()
                self._flush()


class _One:
    """The way back to a call with one answer."""

    def __init__(self, answer: asyncio.Future[tuple[Code, bytes | str]]) -> None:
        self.answer = answer

    @property
    def unsent(self) -> int:
        return 0

    def respond(self, message: bytes) -> None:
        if not self.answer.done():
            self.answer.set_result((Code.OK, message))

    def send(self, message: bytes) -> None:
        self.respond(message)

    def finish(self, code: Code = Code.OK, text: str = "") -> None:
        if not self.answer.done():
            self.answer.set_result((code, text))

    def release(self) -> None:
        """All messages are here: nobody is held up."""


class _Many:
    """The way back to a call with many answers."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self.handler: Handler | None = None
        self.finished = False
        self._said: deque[bytes | tuple[Code, str]] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    @property
    def unsent(self) -> int:
        return self._bytes

    def respond(self, message: bytes) -> None:
        self.send(message)
        self.finish()

    def send(self, message: bytes) -> None:
        if not self.finished:
            self._said.append(message)
            self._bytes += len(message)
            self._news.set()

    def finish(self, code: Code = Code.OK, text: str = "") -> None:
        if not self.finished:
            self.finished = True
            self._said.append((code, text))
            self._news.set()

    def release(self) -> None:
        """All messages are here: nobody is held up."""

    async def next(self) -> bytes | tuple[Code, str] | None:
        """What was said next; None: nothing more will be."""
        while not self._said:
            if self.finished:
                return None
            self._news.clear()
            await self._news.wait()
        said = self._said.popleft()
        if isinstance(said, bytes):
            before, self._bytes = self._bytes, self._bytes - len(said)
            if self._bytes <= _LOW_BYTES < before and self.handler is not None:
                self.handler.drained()
                self._flush()
        return said


def _messages(body: bytes, route: Route) -> list[bytes]:
    """The messages in a request's body, encoded; an empty one has one that is empty. Raises `ValueError`."""
    text = body.decode()
    decoder = json.JSONDecoder()
    at = 0
    found: list[bytes] = []
    while (at := _skip(text, at)) < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
            if not isinstance(value, dict):
                raise ValueError(f"a message is a JSON object, not {type(value).__name__}")
            found.append(_parsed(value, route.request).SerializeToString())
        except (ParseError, RecursionError) as error:
            raise ValueError(str(error)) from error
    return found or [b""]


def _parsed(value: dict[str, Any], kind: type[Message]) -> Message:
    """Unknown fields are passed over; unknown names of an enumeration are not, though protobuf would do that too."""
    try:
        return ParseDict(value, kind())
    except ParseError:
        _check_names(value, kind.DESCRIPTOR)
        return ParseDict(value, kind(), ignore_unknown_fields=True)


def _check_names(value: object, kind: Any) -> None:
    """`kind` is a message's descriptor. Raises `ValueError`."""
    if not isinstance(value, dict):
        return
    for name, part in value.items():
        field = kind.fields_by_name.get(name) or kind.fields_by_camelcase_name.get(name)
        if field is None:
            continue
        for one in part if isinstance(part, list) else [part]:
            if field.message_type is not None:
                _check_names(one, field.message_type)
            elif field.enum_type is not None and isinstance(one, str) and one not in field.enum_type.values_by_name:
                raise ValueError(f"unknown value {json.dumps(json.dumps(one))} for enum {field.enum_type.full_name}")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _json(message: Message) -> bytes:
    return json.dumps(MessageToDict(message, preserving_proto_field_name=True), separators=(",", ":")).encode()


def _refused(code: Code, text: str, status: HTTPStatus | None = None) -> HttpReply:
    body = json.dumps({"error": text, "code": int(code), "message": text}, separators=(",", ":")).encode()
    if status is None:
        status = _HTTP.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)
    return HttpReply(status=status, content_type=_JSON, body=body)


def _stream_error(code: Code, text: str) -> bytes:
    status = _HTTP.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)
    said = {"grpc_code": int(code), "http_code": status.value, "message": text, "http_status": status.phrase}
    return json.dumps({"error": said}, separators=(",", ":")).encode() + b"\n"
