"""The JSON gateway of a real node, over real connections: calls, streams, and callers who leave."""

from __future__ import annotations

import json
import socket
from base64 import b64decode, b64encode
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.cluster import FAST, Process, leader_of, processes, until

from coterie.runtime.addresses import split_address


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with processes(tmp_path_factory.mktemp("gateway"), 1, flags=FAST) as (only,):
        only.start()
        until(lambda: leader_of([only]) is not None)
        yield only


def text(value: bytes) -> str:
    return b64encode(value).decode()


class Visitor:
    """One HTTP/1.1 connection."""

    def __init__(self, node: Process) -> None:
        self.http = HTTPConnection(*split_address(node.client), timeout=20)

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def send(self, path: str, body: str | dict[str, Any], method: str = "POST") -> None:
        self.http.request(method, path, body if isinstance(body, str) else json.dumps(body))

    def ask(self, path: str, body: str | dict[str, Any], method: str = "POST") -> tuple[int, Any]:
        self.send(path, body, method)
        answer = self.http.getresponse()
        return answer.status, json.loads(answer.read())

    def line(self, answer: Any) -> Any:
        """The next value of a stream."""
        return json.loads(answer.readline())


def call(node: Process, path: str, body: str | dict[str, Any]) -> Any:
    """The answer to a call that succeeds."""
    with Visitor(node) as visitor:
        status, answer = visitor.ask(path, body)
    assert status == 200, answer
    return answer


def put(node: Process, key: bytes, value: bytes = b"x", **options: Any) -> int:
    answer = call(node, "/v3/kv/put", {"key": text(key), "value": text(value), **options})
    return int(answer["header"]["revision"])


def test_bytes_are_base64_large_numbers_are_text_and_defaults_are_left_out(node: Process) -> None:
    revision = put(node, b"json/\xff", b"\x00\x01")
    answer = call(node, "/v3/kv/range", {"key": text(b"json/\xff")})
    (item,) = answer["kvs"]
    assert (b64decode(item["key"]), b64decode(item["value"])) == (b"json/\xff", b"\x00\x01")
    assert item["mod_revision"] == item["create_revision"] == str(revision)
    assert item["version"] == answer["count"] == "1"
    assert "lease" not in item
    assert "more" not in answer
    assert set(answer["header"]) == {"cluster_id", "member_id", "revision", "raft_term"}
    nothing = call(node, "/v3/kv/range", {"key": text(b"json/nothing")})
    assert set(nothing) == {"header"}


def test_numbers_may_come_as_text_or_not_and_names_in_either_style(node: Process) -> None:
    for prefix in (b"style/a", b"style/b"):
        put(node, prefix)
    for body in (
        {"key": text(b"style/"), "range_end": text(b"style0"), "limit": 1},
        {"key": text(b"style/"), "rangeEnd": text(b"style0"), "limit": "1"},
    ):
        answer = call(node, "/v3/kv/range", body)
        assert (len(answer["kvs"]), answer["count"], answer["more"]) == (1, "2", True)


def test_a_transaction_a_deletion_and_a_compaction(node: Process) -> None:
    put(node, b"txn")
    absent = {"key": text(b"txn"), "target": "VERSION", "result": "EQUAL", "version": "0"}
    request = {"compare": [absent], "failure": [{"request_range": {"key": text(b"txn")}}]}
    answer = call(node, "/v3/kv/txn", request)
    assert "succeeded" not in answer
    assert answer["responses"][0]["response_range"]["count"] == "1"
    assert call(node, "/v3/kv/deleterange", {"key": text(b"txn")})["deleted"] == "1"
    revision = put(node, b"txn")
    call(node, "/v3/kv/compaction", {"revision": str(revision)})
    with Visitor(node) as visitor:
        status, refused = visitor.ask("/v3/kv/range", {"key": text(b"txn"), "revision": str(revision - 1)})
    words = "etcdserver: mvcc: required revision has been compacted"
    assert (status, refused) == (400, {"error": words, "code": 11, "message": words})


def test_leases_locks_and_elections(node: Process) -> None:
    lease = call(node, "/v3/lease/grant", {"TTL": 60})["ID"]
    put(node, b"leased", lease=lease)
    told = call(node, "/v3/lease/timetolive", {"ID": lease, "keys": True})
    assert (told["grantedTTL"], [b64decode(key) for key in told["keys"]]) == ("60", [b"leased"])
    assert {"ID": lease} in call(node, "/v3/lease/leases", {})["leases"]
    kept = call(node, "/v3/lease/keepalive", {"ID": lease})["result"]
    assert (kept["ID"], kept["TTL"]) == (lease, "60")
    key = call(node, "/v3/lock/lock", {"name": text(b"L"), "lease": lease})["key"]
    call(node, "/v3/lock/unlock", {"key": key})
    won = call(node, "/v3/election/campaign", {"name": text(b"E"), "lease": lease, "value": text(b"me")})
    assert b64decode(call(node, "/v3/election/leader", {"name": text(b"E")})["kv"]["value"]) == b"me"
    call(node, "/v3/election/resign", {"leader": won["leader"]})
    call(node, "/v3/lease/revoke", {"ID": lease})
    assert "kvs" not in call(node, "/v3/kv/range", {"key": text(b"leased")})


def test_several_keep_alives_in_one_body_are_each_answered_and_the_stream_ends(node: Process) -> None:
    lease = call(node, "/v3/lease/grant", {"TTL": 60})["ID"]
    with Visitor(node) as visitor:
        visitor.send("/v3/lease/keepalive", f'{{"ID":{lease}}} {{"ID":"1"}}\n{{"ID":{lease}}}')
        lines = visitor.http.getresponse().read().splitlines()
    assert [json.loads(line)["result"].get("TTL", "0") for line in lines] == ["60", "0", "60"]


def watch(visitor: Visitor, key: bytes, **options: Any) -> Any:
    """The answer to a watch, after its first line."""
    visitor.send("/v3/watch", {"create_request": {"key": text(key), **options}})
    answer = visitor.http.getresponse()
    assert answer.status == 200
    assert visitor.line(answer)["result"]["created"] is True
    return answer


def test_a_watch_tells_each_event_as_it_happens_one_line_an_answer(node: Process) -> None:
    first = put(node, b"watched", b"0")
    with Visitor(node) as visitor:
        answer = watch(visitor, b"watched", start_revision=str(first))
        for number in range(1, 6):
            told = visitor.line(answer)["result"]["events"]
            assert [b64decode(event["kv"]["value"]) for event in told] == [b"%d" % (number - 1)]
            assert "type" not in told[0], "PUT is the default"
            put(node, b"watched", b"%d" % number)
        visitor.line(answer)
        call(node, "/v3/kv/deleterange", {"key": text(b"watched")})
        (event,) = visitor.line(answer)["result"]["events"]
        assert (event["type"], set(event["kv"])) == ("DELETE", {"key", "mod_revision"})


def test_a_watch_from_far_back_is_told_all_of_it_though_nothing_else_happens(node: Process) -> None:
    first = put(node, b"past", b"0")
    puts = [{"request_put": {"key": text(b"other"), "value": text(b"x")}}]
    for number in range(1, 700):
        put(node, b"past", b"%d" % number) if number % 2 else call(node, "/v3/kv/txn", {"success": puts})
    with Visitor(node) as visitor:
        answer = watch(visitor, b"past", start_revision=str(first))
        told: list[bytes] = []
        while len(told) < 351:
            told += [b64decode(event["kv"]["value"]) for event in visitor.line(answer)["result"]["events"]]
    assert told == [b"0", *(b"%d" % number for number in range(1, 700, 2))]


def test_a_caller_who_leaves_in_the_middle_of_a_stream_leaves_nothing_behind(node: Process) -> None:
    with Visitor(node) as visitor:
        watch(visitor, b"left")
        before = node.lines()
    with socket.create_connection(split_address(node.client), timeout=5) as rude:
        body = json.dumps({"create_request": {"key": text(b"left")}}).encode()
        rude.sendall(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert rude.recv(100).startswith(b"HTTP/1.1 200")
    for number in range(50):
        put(node, b"left", bytes(10_000) + b"%d" % number)
    assert "Traceback" not in node.lines()[len(before) :]


def test_a_caller_who_leaves_while_it_waits_for_a_lock_leaves_no_key_behind(node: Process) -> None:
    lease = call(node, "/v3/lease/grant", {"TTL": 60})["ID"]
    holder = call(node, "/v3/lock/lock", {"name": text(b"Q"), "lease": lease})

    def queue() -> int:
        return int(call(node, "/v3/kv/range", {"key": text(b"Q/"), "range_end": text(b"Q0")}).get("count", "0"))

    with Visitor(node) as visitor:
        visitor.send("/v3/lock/lock", {"name": text(b"Q")})
        until(lambda: queue() == 2)
    until(lambda: queue() == 1)
    call(node, "/v3/lock/unlock", {"key": holder["key"]})
    assert queue() == 0


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "Expecting"),
        ('{"key": "%%%"}', "key"),
        ('{"limit": "many"}', "limit"),
        ("[1]", "a message is a JSON object, not list"),
        ('{"key": {}}', "key"),
        ("\x00", "Expecting"),
    ],
)
def test_what_is_no_request_is_refused_with_what_is_wrong(node: Process, body: str, says: str) -> None:
    with Visitor(node) as visitor:
        status, answer = visitor.ask("/v3/kv/range", body)
        assert (status, answer["code"]) == (400, 3)
        assert says in answer["message"]
        assert answer["error"] == answer["message"]
        assert visitor.ask("/v3/kv/range", {"key": text(b"k")})[0] == 200, "the connection goes on"


def test_text_that_is_not_utf_8_is_refused(node: Process) -> None:
    with Visitor(node) as visitor:
        visitor.http.request("POST", "/v3/kv/range", b'{"key": "\xff"}')
        answer = visitor.http.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (400, 3)


def test_deep_nesting_is_refused_and_harms_nobody(node: Process) -> None:
    with Visitor(node) as visitor:
        status, _ = visitor.ask("/v3/kv/txn", '{"success":[{"request_txn":' * 5000)
        assert status == 400
    assert put(node, b"after")


def test_an_empty_body_is_an_empty_message_and_unknown_fields_are_passed_over(node: Process) -> None:
    with Visitor(node) as visitor:
        status, answer = visitor.ask("/v3/kv/range", "")
        assert (status, answer["message"]) == (400, "etcdserver: key is not provided")
        assert visitor.ask("/v3/lease/leases", "")[0] == 200
        assert visitor.ask("/v3/kv/range", {"key": text(b"k"), "invented": [1, 2]})[0] == 200


def test_refusals_have_the_status_that_the_gateway_gives_their_codes(node: Process) -> None:
    with Visitor(node) as visitor:
        assert visitor.ask("/v3/lease/revoke", {"ID": "99"})[0] == 404
        assert visitor.ask("/v3/kv/range", {"key": text(b"k"), "revision": "99999999"})[0] == 400
        lease = call(node, "/v3/lease/grant", {"TTL": 60})["ID"]
        assert visitor.ask("/v3/lease/grant", {"TTL": 60, "ID": lease})[0] == 400
        assert visitor.ask("/v3/kv/range", {"key": text(b"k")}, method="GET")[0] == 405
        visitor.send("/v3/kv/none", {})
        assert visitor.http.getresponse().status == 404


def test_a_watch_that_is_refused_says_so_in_the_stream(node: Process) -> None:
    with Visitor(node) as visitor:
        visitor.send("/v3/watch", {"create_request": {"key": text(b"b"), "range_end": text(b"a")}})
        told = visitor.line(visitor.http.getresponse())["result"]
    assert (told["watch_id"], told["created"], told["canceled"]) == ("-1", True, True)


def test_one_connection_serves_many_calls_one_after_the_other(node: Process) -> None:
    with Visitor(node) as visitor:
        revisions = [
            int(visitor.ask("/v3/kv/put", {"key": text(b"many"), "value": text(b"x")})[1]["header"]["revision"])
            for _ in range(50)
        ]
    assert revisions == list(range(revisions[0], revisions[0] + 50))


def test_where_another_machine_runs_there_is_no_such_path(tmp_path: Path) -> None:
    machine = ("--machine", "examples.bank:Bank")
    with processes(tmp_path, 1, flags=(*FAST, *machine)) as (bank,):
        bank.environment["PYTHONPATH"] += ":" + str(Path(__file__).parents[2])
        bank.start()
        until(lambda: leader_of([bank]) is not None)
        with Visitor(bank) as visitor:
            visitor.send("/v3/kv/range", {"key": text(b"k")})
            assert visitor.http.getresponse().status == 404
