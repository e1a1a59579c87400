"""etcd3 (python-etcd3 0.12): its calls, one scenario; what comes of each is printed.

Run by the interpreter of .clients/python: `etcd3_python.py scenario|failover ENDPOINT,ENDPOINT,ENDPOINT`.
"""

from __future__ import annotations

import io
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import etcd3
from shared import Counts, await_kill, guarded, report

ERRORS = etcd3.exceptions.Etcd3Exception


def connect(endpoint: str, timeout: float = 10) -> Any:
    host, port = endpoint.rsplit(":", 1)
    return etcd3.client(host=host, port=int(port), timeout=timeout)


def failure(call: Callable[..., object], *arguments: Any, **named: Any) -> str:
    """The error that a call ends with."""
    try:
        return f"no error: {call(*arguments, **named)!r}"
    except Exception as error:
        code = getattr(error, "code", None)
        return f"{type(error).__name__} {code() if callable(code) else ''}"


def told(pairs: Iterable[Any], base: int) -> list[tuple[Any, ...]]:
    return [
        (meta.key, value, meta.version, meta.create_revision - base, meta.mod_revision - base) for value, meta in pairs
    ]


def keys(client: Any) -> None:
    base = client.put("base", "0").header.revision
    print("nothing", client.get("a/none"))
    print("put", client.put("a/1", "one").header.revision - base)
    print("previous", client.put("a/1", "uno", prev_kv=True).prev_kv.value)
    print("absent", client.put_if_not_exists("a/2", "two"), client.put_if_not_exists("a/2", "again"))
    print("replace", client.replace("a/2", "two", "dos"), client.replace("a/2", "two", "zwei"))
    client.put(b"a/\xff\x00", b"\x00binary\xff")
    client.put("b/1", "")
    print("get", told([client.get("a/1")], base), told([client.get("a/1", serializable=True)], base))
    print("prefix", told(client.get_prefix("a/"), base))
    print("descending", told(client.get_prefix("a/", sort_order="descend", sort_target="mod"), base))
    print("by value", told(client.get_prefix("a/", sort_order="ascend", sort_target="value"), base))
    print("keys only", told(client.get_prefix("a/", keys_only=True), base))
    print("range", told(client.get_range("a/2", "b/2"), base))
    print("all", [meta.key for _, meta in client.get_all()])
    response = client.get_response("a/1")
    print("count", response.count, response.more, response.header.revision - base)
    print("delete", client.delete("a/1"), client.delete("a/1"))
    print("deleted", client.delete("a/2", prev_kv=True, return_response=True).prev_kvs[0].value)
    print("delete prefix", client.delete_prefix("a/").deleted, client.delete_prefix("a/").deleted)
    print("empty key", failure(client.put, "", "x"), failure(client.get, ""))
    print("large", failure(client.put, "large", "x" * (1 << 21)))
    print("after", client.get_response("b/1").header.revision - base)


def transactions(client: Any) -> None:
    base = client.put("t/1", "1").header.revision
    txn = client.transactions
    client.put("t/1", "1")
    taken, answers = client.transaction(
        compare=[txn.value("t/1") == "1", txn.version("t/1") > 0, txn.create("t/2") == 0, txn.mod("t/1") != 1],
        success=[txn.put("t/2", "2"), txn.get("t/1"), txn.delete("t/1", prev_kv=True)],
        failure=[txn.put("t/3", "3")],
    )
    print("taken", taken, answers[0].response_put.header.revision - base, told(answers[1], base))
    print("deleted", answers[2].response_delete_range.deleted, answers[2].response_delete_range.prev_kvs[0].value)
    taken, answers = client.transaction(
        compare=[txn.value("t/2") < "2"], success=[], failure=[txn.get("t/2"), txn.get("t/none")]
    )
    print("not taken", taken, told(answers[0], base), answers[1])
    inner = txn.txn(compare=[txn.version("t/2") == 1], success=[txn.put("t/4", "4")], failure=[])
    taken, answers = client.transaction(compare=[], success=[txn.put("t/5", "5"), inner], failure=[])
    print("nested", taken, client.get("t/4")[0], client.get("t/5")[0])
    end = etcd3.utils.increment_last_byte(b"t/")
    for least in 0, 1000:
        print("range compared", client.transaction([txn.version("t/", end) > least], [], [])[0])
    print("twice", failure(client.transaction, [], [txn.put("t/6", "1"), txn.put("t/6", "2")], []))
    print("after", told(client.get_prefix("t/"), base))


def event_told(event: Any, base: int) -> tuple[Any, ...]:
    return type(event).__name__, event.key, event.value, event.mod_revision - base, event.version


def watches(client: Any) -> None:
    base = client.put("w/0", "0").header.revision
    events, cancel = client.watch_prefix("w/", start_revision=base, prev_kv=True)
    client.put("w/1", "1")
    client.put("elsewhere", "1")
    client.put("w/1", "2")
    client.delete("w/1")
    client.delete("w/none")
    client.delete_prefix("w/")
    for _ in range(5):
        event = next(events)
        print("watched", event_told(event, base), event.prev_value)
    cancel()
    print("cancelled", list(events))

    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    watch = client.add_watch_prefix_callback("w/", seen.put)
    client.transaction([], [client.transactions.put("w/2", "2"), client.transactions.put("w/3", "3")], [])
    print("called", [event_told(event, base) for event in seen.get(timeout=10).events])
    client.cancel_watch(watch)

    later = threading.Timer(0.3, lambda: connect(client.endpoint).put("w/4", "4"))
    later.start()
    print("once", event_told(client.watch_once("w/4", timeout=10), base))
    later.join()
    print("timed out", failure(client.watch_once, "w/nothing", timeout=1))

    for name in "w/5", "w/6":
        client.put(name, "5")
    responses, cancel = client.watch_prefix_response("w/", start_revision=base + 8)
    response = next(responses)
    print("responses", [event_told(event, base) for event in response.events], response.header.revision > base)
    cancel()


def compaction(client: Any) -> None:
    base = client.put("c/1", "1").header.revision
    for value in "234":
        client.put("c/1", value)
    client.compact(base + 2)
    events, _ = client.watch("c/1", start_revision=base)
    try:
        print("compacted", next(events))
    except etcd3.exceptions.RevisionCompactedError as error:
        print("compacted", error.compacted_revision - base)
    print("again", failure(client.compact, base + 2))
    print("future", failure(client.compact, base + 1000))
    client.compact(base + 3, physical=True)
    client.defragment()
    print("kept", told([client.get("c/1")], base))


def leases(client: Any) -> None:
    lease = client.lease(60)
    client.put("l/1", "1", lease=lease)
    client.put("l/2", "2", lease=lease)
    print("lease", lease.granted_ttl, 58 <= lease.remaining_ttl <= 60, sorted(lease.keys))
    print("of key", client.get("l/1")[1].lease_id == lease.id)
    print("refresh", [answer.TTL for answer in lease.refresh()])
    print("revoke", lease.revoke(), client.get("l/1"), client.get("l/2"))
    print("revoked", failure(client.revoke_lease, lease.id), client.get_lease_info(lease.id).TTL)
    print("refresh of none", [answer.TTL for answer in client.refresh_lease(lease.id)])
    print("put of none", failure(client.put, "l/3", "3", lease=lease))
    named = client.lease(50, lease_id=777)
    print("named", named.id, failure(client.lease, 50, lease_id=777), failure(client.lease, 10**10))
    named.revoke()

    short = client.lease(2)
    begun = time.monotonic()
    client.put("l/short", "1", lease=short)
    events, cancel = client.watch("l/short")
    print("expired", type(next(events)).__name__, client.get("l/short"), 1.9 <= time.monotonic() - begun <= 6)
    cancel()


def locks(client: Any, other: Any) -> None:
    lock = client.lock("guard", ttl=60)
    print("acquire", lock.acquire(), lock.is_acquired())
    print("refused", other.lock("guard", ttl=60).acquire(timeout=1))
    print("refresh", [answer.TTL for answer in lock.refresh()])
    threading.Timer(0.3, lock.release).start()
    second = other.lock("guard", ttl=60)
    print("handed over", second.acquire(timeout=10), lock.is_acquired(), second.is_acquired())
    print("release", second.release(), second.release())
    with client.lock("guard", ttl=60) as held:
        print("with", held.is_acquired())


def cluster(client: Any, endpoints: list[str]) -> None:
    status = client.status()
    print(
        "status",
        status.version,
        status.db_size > 0,
        status.leader.name[:1],
        status.raft_index > 0,
        status.raft_term > 0,
    )
    members = sorted(client.members, key=lambda member: member.name)
    print("members", [(member.name, len(member.peer_urls), len(member.client_urls)) for member in members])
    print(
        "addresses",
        [member.client_urls == [f"http://{at}"] for member, at in zip(members, sorted(endpoints), strict=True)],
    )
    print("hash", failure(lambda: client.hash() != 0))
    print("alarms", list(client.list_alarms()), list(client.disarm_alarm()))
    snapshot = io.BytesIO()
    client.snapshot(snapshot)
    print("snapshot", len(snapshot.getvalue()) > 10_000, len(snapshot.getvalue()) % 512)
    print("wrong", failure(client.remove_member, 1234), failure(client.update_member, 1234, ["http://127.0.0.1:1"]))


def scenario(endpoints: list[str]) -> None:
    with connect(endpoints[0]) as client, connect(endpoints[1]) as other:
        client.endpoint = endpoints[0]
        for part in keys, transactions, watches, compaction, leases:
            guarded(part, client)
        guarded(locks, client, other)
        guarded(cluster, client, endpoints)
    print("refused", failure(connect("127.0.0.1:1", 2).get, "a"))


def failover(endpoints: list[str]) -> None:
    """A counter is raised through followers, watched by one, with a lock held, while the leader (the last) dies."""
    to_leader = connect(endpoints[2], 5)
    watcher, writer = connect(endpoints[0]), connect(endpoints[1], 5)
    counts = Counts()
    watcher.add_watch_callback(
        "counter", lambda response: counts.watched(int(event.value) for event in response.events)
    )
    lease = writer.lease(60)
    lock = writer.lock("failover", ttl=60)
    lock.acquire()
    writer.put("session", "kept", lease=lease)

    def raised(client: Any, value: int) -> bool:
        txn = client.transactions
        before = txn.value("counter") == str(value - 1) if value > 1 else txn.version("counter") == 0
        return bool(client.transaction([before], [txn.put("counter", str(value))], [])[0])

    counts.reach(lambda value: raised(to_leader, value), lambda: int(to_leader.get("counter")[0] or 0), 20, ERRORS)
    await_kill()
    counts.reach(lambda value: raised(writer, value), lambda: int(writer.get("counter")[0] or 0), 60, ERRORS)
    print("to the dead", failure(to_leader.put, "x", "y"))
    report(counts, int(watcher.get("counter")[0]))
    print("lock", lock.is_acquired(), lock.release(), "lease", lease.granted_ttl, writer.get("session")[0])
    lease.revoke()
    print("after revoke", writer.get("session"))
    writer.delete("counter")


if __name__ == "__main__":
    {"scenario": scenario, "failover": failover}[sys.argv[1]](sys.argv[2].split(","))
