"""A client made of the `h2` library and a server of ours, with wires between them that hold bytes back."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import h2.settings
from tests.http2.talk import FIELDS, SECOND, packed

from coterie.http2 import Called, Cancelled, Connection, Drained, Ended, Event, Limits, Received
from coterie.http2.messages import Assembly


class Heard:
    """What one side has heard of a stream."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.ended = False
        self.cancelled = False
        self.unread = 0


class Client:
    """The `h2` library's end."""

    def __init__(self) -> None:
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.http.initiate_connection()
        self.answers: dict[int, Heard] = {}
        self.status: dict[int, str] = {}
        self.waiting: dict[int, bytearray] = {}
        """DATA that the library's windows hold back."""
        self.ending: set[int] = set()
        self.sent: dict[int, list[bytes]] = {}
        self._parts: dict[int, Assembly] = {}
        self.generous = True
        """Whether what has come is acknowledged at once."""
        self.unacknowledged: list[tuple[int, int]] = []
        self.goaway = False
        self._settling = True
        self._rest = b""

    def set(self, setting: h2.settings.SettingCodes, value: int) -> None:
        """Change a setting, unless a change is under way: the library takes any acknowledgement for that of all."""
        if not self._settling:
            self._settling = True
            self.http.update_settings({setting: value})

    def open(self, extra: list[tuple[str, str]]) -> int:
        number = self.http.get_next_available_stream_id()
        self.http.send_headers(number, [*FIELDS, *extra])
        self.answers[number] = Heard()
        self.waiting[number] = bytearray()
        self.sent[number] = []
        self._parts[number] = Assembly(1 << 30, False)
        return number

    def say(self, number: int, message: bytes) -> None:
        self.sent[number].append(message)
        self.waiting[number] += packed(message)

    def is_open(self, number: int) -> bool:
        return number in self.waiting and number not in self.ending

    def end(self, number: int) -> None:
        self.ending.add(number)

    def reset(self, number: int) -> None:
        self.http.reset_stream(number, 8)
        self.gone(number)

    def gone(self, number: int) -> None:
        self.waiting.pop(number, None)
        self.ending.discard(number)

    def push(self, size: int) -> None:
        """Send of what waits, in frames of at most `size` bytes, what the windows allow."""
        for number, waiting in list(self.waiting.items()):
            while waiting:
                room = min(size, self.http.local_flow_control_window(number), self.http.max_outbound_frame_size)
                if room <= 0:
                    break
                self.http.send_data(number, bytes(waiting[:room]))
                del waiting[:room]
            if not waiting and number in self.ending:
                self.http.end_stream(number)
                self.gone(number)

    def receive(self, data: bytes) -> None:
        """The library looks at a new largest frame only before the next bytes, so it is given frames one by one."""
        self._rest += data
        while len(self._rest) >= 9 and len(self._rest) >= (end := 9 + int.from_bytes(self._rest[:3])):
            self._hear(self.http.receive_data(self._rest[:end]))
            self._rest = self._rest[end:]
        if self.generous:
            self.acknowledge()

    def _hear(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                number = event.stream_id
                self.answers[number].messages += [m for m, _ in self._parts[number].feed(event.data)]
                self.unacknowledged.append((event.flow_controlled_length, number))
            elif isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived):
                for name, value in event.headers:
                    if name == b"grpc-status":
                        self.status[event.stream_id] = value.decode()
            elif isinstance(event, h2.events.SettingsAcknowledged):
                self._settling = False
            elif isinstance(event, h2.events.StreamEnded):
                self.answers[event.stream_id].ended = True
            elif isinstance(event, h2.events.StreamReset):
                self.answers[event.stream_id].cancelled = event.error_code != 0
                self.gone(event.stream_id)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = True

    def acknowledge(self) -> None:
        for size, number in self.unacknowledged:
            self.http.acknowledge_received_data(size, number)
        self.unacknowledged.clear()


class Server:
    """Ours, with an application that remembers."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.now = SECOND
        self.http = Connection(limits or Limits(), self.now)
        self.calls: dict[int, Heard] = {}
        self.said: dict[int, list[bytes]] = {}
        self.finished: dict[int, int] = {}

    def receive(self, data: bytes) -> None:
        self.hear(self.http.receive(data, self.now))

    def hear(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Called):
                assert event.stream not in self.calls
                heard = self.calls[event.stream] = Heard()
                self.said[event.stream] = []
                if event.message is not None:
                    heard.messages.append(event.message)
                    heard.unread += 1
                heard.ended = event.ended
                continue
            heard = self.calls[event.stream]
            assert not heard.cancelled
            assert event.stream not in self.finished, event
            if isinstance(event, Received):
                assert not heard.ended
                heard.messages.append(event.message)
                heard.unread += 1
            elif isinstance(event, Ended):
                assert not heard.ended
                heard.ended = True
            elif isinstance(event, Cancelled):
                heard.cancelled = True
            else:
                assert isinstance(event, Drained)

    def open(self) -> list[int]:
        """Calls that wait for an answer."""
        return [n for n, heard in self.calls.items() if n not in self.finished and not heard.cancelled]

    def send(self, number: int, message: bytes) -> None:
        self.said[number].append(message)
        self.http.send(number, message)

    def finish(self, number: int, status: int) -> None:
        self.finished[number] = status
        self.http.finish(number, status)

    def respond(self, number: int, message: bytes) -> None:
        self.said[number].append(message)
        self.finished[number] = 0
        self.http.respond(number, message)

    def read(self, number: int) -> None:
        heard = self.calls[number]
        while heard.unread:
            heard.unread -= 1
            self.http.read(number)


class Wires:
    """Bytes under way."""

    def __init__(self, client: Client, server: Server) -> None:
        self.client, self.server = client, server
        self._up = b""
        self._down = b""

    def up(self, size: int) -> None:
        """So many bytes reach the server, if there are as many."""
        self._up += self.client.http.data_to_send()
        data, self._up = self._up[:size], self._up[size:]
        if data:
            self.server.receive(data)

    def down(self, size: int) -> None:
        """So many bytes reach the client."""
        self._down += self.server.http.take_output()
        data, self._down = self._down[:size], self._down[size:]
        if data:
            self.client.receive(data)

    def settle(self) -> None:
        """Everything arrives, everything is read, until nothing moves."""
        self.client.generous = True
        self.client.acknowledge()
        moved = True
        while moved:
            before = self._mark()
            self.client.push(1 << 20)
            self.up(1 << 30)
            for number in self.server.open():
                self.server.read(number)
            self.down(1 << 30)
            moved = before != self._mark() or bool(self._up or self._down)

    def _mark(self) -> tuple[int, ...]:
        heard = [*self.client.answers.values(), *self.server.calls.values()]
        waiting = sum(map(len, self.client.waiting.values()))
        messages = sum(len(h.messages) + h.ended + h.cancelled for h in heard)
        return (len(heard), waiting, messages, self.server.http._sender.unsent, self.server.http._streams.last)
