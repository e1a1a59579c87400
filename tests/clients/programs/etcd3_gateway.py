"""etcd3gw (the JSON gateway): its calls, one scenario; what comes of each is printed.

Run by the interpreter of .clients/python: `etcd3_gateway.py scenario|failover ENDPOINT,ENDPOINT,ENDPOINT`.
"""

from __future__ import annotations

import base64
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import etcd3gw
import requests
from shared import Counts, await_kill, guarded, report

ERRORS = (etcd3gw.exceptions.Etcd3Exception, requests.exceptions.RequestException)


def connect(endpoint: str, timeout: float | None = 10) -> Any:
    host, port = endpoint.rsplit(":", 1)
    return etcd3gw.client(host=host, port=int(port), timeout=timeout)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def failure(call: Callable[..., object], *arguments: Any, **named: Any) -> str:
    """The error that a call ends with."""
    try:
        return f"no error: {call(*arguments, **named)!r}"
    except Exception as error:
        return f"{type(error).__name__} {error} {getattr(error, 'detail_text', '')}"


def answered(client: Any, path: str, body: object) -> str:
    """A bare call: the status and the body."""
    done = client.session.post(client.get_url(path), json=body, timeout=10)
    return f"{done.status_code} {done.headers['Content-Type']} {done.text.strip()}"


def revision(client: Any) -> int:
    return int(client.status()["header"]["revision"])


def told(pairs: Iterable[Any], base: int) -> list[tuple[Any, ...]]:
    return [
        (meta["key"], value, meta["version"], int(meta["create_revision"]) - base, int(meta["mod_revision"]) - base)
        for value, meta in pairs
    ]


def keys(client: Any) -> None:
    base = revision(client)
    print("nothing", client.get("g/none"))
    print("put", client.put("g/1", "one"), client.create("g/1", "again"), client.create("g/2", "two"))
    print("replace", client.replace("g/2", "two", "dos"), client.replace("g/2", "two", "zwei"))
    client.put(b"g/\xff\x00", b"\x00binary\xff")
    client.put("g/empty", "")
    print("get", told(client.get("g/1", metadata=True), base), client.get("g/1"), client.get("g/empty"))
    print("prefix", told(client.get_prefix("g/"), base))
    for order in "ascend", "descend":
        for target in "key", "version", "create", "mod", "value":
            print(order, target, [value for value, _ in client.get_prefix("g/", sort_order=order, sort_target=target)])
    print("limited", client.get("g/", range_end="g0", limit=2), client.get("g/", range_end="g0", keys_only=True))
    print("of revision", client.get("g/2", revision=base + 2), failure(client.get, "g/2", revision=base + 1000))
    print("filtered", client.get("g/", range_end="g0", min_mod_revision=base + 3, max_create_revision=base + 4))
    print("delete", client.delete("g/1"), client.delete("g/1"), client.delete_prefix("g/"), client.get_prefix("g/"))


def bodies(client: Any) -> None:
    """Bodies as they are, without what differs between clusters."""
    body: object
    for path, body in (
        ("/kv/put", {"key": "not base64!"}),
        ("/kv/put", {"key": "YQ==", "lease": "seventy"}),
        ("/kv/range", [1]),
        ("/nothing/here", {}),
    ):
        done = client.session.post(client.get_url(path), json=body, timeout=10)
        print(path, body, done.status_code, done.headers["Content-Type"], b'"code":3' in done.content)
    for path, body in (
        ("/kv/put", {"value": "YQ=="}),
        ("/kv/put", {"key": "YQ==", "lease": "77"}),
        ("/kv/range", {"key": "YQ==", "sort_order": "SIDEWAYS"}),
        ("/kv/range", {"key": "YQ==", "unknown": 1}),
        ("/kv/txn", {"success": [{"request_put": {"key": "YQ=="}}, {"request_put": {"key": "YQ=="}}]}),
        ("/kv/compaction", {"revision": 1 << 40}),
        ("/lease/revoke", {"ID": 123456}),
        ("/lease/timetolive", {"ID": 123456}),
        ("/lease/keepalive", {"ID": 123456}),
        ("/lease/grant", {"TTL": 10_000_000_000}),
        ("/cluster/member/remove", {"ID": 1}),
    ):
        text = answered(client, path, body)
        print(path, body, text if '"header"' not in text else text.split('"header"')[0])
    print("get", client.session.get(client.get_url("/kv/range"), timeout=10).status_code)
    version = client.session.get(client.base_url + "/version", timeout=10)
    print("version", version.status_code, version.json()["etcdserver"], version.json()["etcdcluster"])
    print("health", client.session.get(client.base_url + "/health", timeout=10).text.strip())
    camel = {"key": encoded("g"), "rangeEnd": encoded("h"), "countOnly": True, "sortOrder": "DESCEND"}
    client.put("g/camel", "1")
    print("camel", answered(client, "/kv/range", camel).rsplit("}", 2)[1:])
    client.delete("g/camel")


def transactions(client: Any) -> None:
    client.put("h/1", "1")
    base = revision(client)
    compare = [{"key": encoded("h/1"), "result": "EQUAL", "target": "VALUE", "value": encoded("1")}]
    put = {"request_put": {"key": encoded("h/2"), "value": encoded("2"), "prev_kv": True}}
    get = {"request_range": {"key": encoded("h/1")}}
    delete = {"request_delete_range": {"key": encoded("h/1"), "prev_kv": True}}
    for _ in range(2):
        answer = client.transaction({"compare": compare, "success": [put, get, delete], "failure": [get]})
        shapes = [sorted((name, sorted(part)) for name, part in one.items()) for one in answer["responses"]]
        print("transaction", answer.get("succeeded"), shapes)
    nested = {"request_txn": {"compare": [], "success": [put]}}
    answer = client.transaction({"compare": compare, "success": [], "failure": [nested]})
    print("nested", answer.get("succeeded"), answer["responses"][0]["response_txn"]["succeeded"])
    print("previous", answer["responses"][0]["response_txn"]["responses"][0]["response_put"]["prev_kv"]["value"])
    print("after", told(client.get_prefix("h/"), base))


def watches(client: Any) -> None:
    base = revision(client)
    events, cancel = client.watch_prefix("i/", start_revision=base + 1, prev_kv=True)
    client.put("i/1", "1")
    client.put("i/1", "2")
    client.delete("i/1")
    for _ in range(3):
        event = next(events)
        kind, kv = event.get("type"), event["kv"]
        print("watched", kind, kv["key"], kv.get("value"), sorted(kv), "prev_kv" in event)
    cancel()
    events, cancel = client.watch("i/2", filters=["NOPUT"])
    client.put("i/2", "1")
    client.delete("i/2")
    print("filtered", next(events).get("type"))
    cancel()
    threading.Timer(0.3, client.put, ("i/3", "3")).start()
    print("once", client.watch_once("i/3", 10)["kv"]["value"])
    print("timed out", failure(client.watch_once, "i/none", 1))


def leases(client: Any) -> None:
    lease = client.lease(60)
    client.put("j/1", "1", lease=lease)
    client.create("j/2", "2", lease=lease)
    print("lease", 58 <= lease.ttl() <= 60, sorted(lease.keys()), lease.refresh())
    print("of key", client.get("j/1", metadata=True)[0][1]["lease"] == str(lease.id))
    print("revoke", lease.revoke(), client.get_prefix("j/"), failure(lease.revoke), lease.refresh())
    print("ttl of none", lease.ttl())
    print("put of none", failure(client.put, "j/3", "3", lease=lease))
    short = client.lease(2)
    begun = time.monotonic()
    events, cancel = client.watch("j/short")
    client.put("j/short", "1", lease=short)
    print("expired", next(events).get("type"), next(events).get("type"), client.get("j/short"))
    print("in time", 1.9 <= time.monotonic() - begun <= 6)
    cancel()


def locks(client: Any, other: Any) -> None:
    lock, second = client.lock("guard", ttl=60), other.lock("guard", ttl=60)
    print("acquire", lock.acquire(), second.acquire(), lock.is_acquired(), second.is_acquired(), lock.refresh())
    print("release", lock.release(), second.release(), second.acquire(), second.release())
    lease = client.lease(60)
    held = client.post(client.get_url("/lock/lock"), json={"name": encoded("served"), "lease": lease.id})
    print("lock service", base64.b64decode(held["key"]) == b"served/%x" % lease.id)
    print("unlock", sorted(client.post(client.get_url("/lock/unlock"), json={"key": held["key"]})))
    won = client.post(
        client.get_url("/election/campaign"), json={"name": encoded("vote"), "lease": lease.id, "value": encoded("me")}
    )["leader"]
    led = client.post(client.get_url("/election/leader"), json={"name": encoded("vote")})
    print("elected", base64.b64decode(led["kv"]["value"]), sorted(won))
    client.post(client.get_url("/election/resign"), json={"leader": won})
    print("resigned", failure(client.post, client.get_url("/election/leader"), json={"name": encoded("vote")}))
    lease.revoke()


def users(client: Any, endpoint: str) -> None:
    def ask(path: str, **body: object) -> Any:
        return client.post(client.get_url(f"/auth/{path}"), json=body)

    ask("user/add", name="root", password="secret")
    ask("user/grant", user="root", role="root")
    ask("user/add", name="ann", password="pass")
    ask("role/add", name="own")
    own = {"permType": "READWRITE", "key": encoded("own/"), "range_end": encoded("own0")}
    ask("role/grant", name="own", perm=own)
    ask("user/grant", user="ann", role="own")
    print("role", ask("role/get", role="own")["perm"], ask("user/get", name="ann")["roles"], ask("user/list")["users"])
    ask("enable")
    client.session.headers["Authorization"] = ask("authenticate", name="root", password="secret")["token"]
    ann = connect(endpoint)
    try:
        print("status", sorted(set(ask("status")) - {"header"}))
        print("nobody", failure(ann.get, "own/1"))
        print("wrong", answered(ann, "/auth/authenticate", {"name": "ann", "password": "wrong"}))
        ann.session.headers["Authorization"] = "nonsense"
        print("bad token", answered(ann, "/kv/range", {"key": encoded("own/1")}))
        told = ann.session.post(
            ann.get_url("/auth/authenticate"), json={"name": "ann", "password": "pass"}, headers={"Authorization": ""}
        )
        ann.session.headers["Authorization"] = told.json()["token"]
        print("own", ann.put("own/1", "1"), ann.get("own/1"), ann.get_prefix("own/")[0][0])
        print("others'", answered(ann, "/kv/range", {"key": encoded("g")}), failure(ann.put, "g", "1"))
    finally:
        ask("disable")
        del client.session.headers["Authorization"]
    ask("user/delete", name="root")
    ask("user/delete", name="ann")
    ask("role/delete", role="own")
    print("disabled", client.get("own/1"), client.delete("own/1"))


def cluster(client: Any, endpoints: list[str]) -> None:
    status = client.status()
    print("status", sorted(status), sorted(status["header"]), status["version"])
    members = sorted(client.members(), key=lambda member: member["name"])
    print("members", [sorted(member) for member in members])
    print(
        "addresses",
        [member["clientURLs"] == [f"http://{at}"] for member, at in zip(members, sorted(endpoints), strict=True)],
    )
    snapshot = client.session.post(client.get_url("/maintenance/snapshot"), json={}, timeout=10)
    print("snapshot", snapshot.status_code, snapshot.text[:11])
    print("alarms", sorted(client.post(client.get_url("/maintenance/alarm"), json={"action": "GET"})))
    print("hash", sorted(client.post(client.get_url("/maintenance/hash"), json={})))


def scenario(endpoints: list[str]) -> None:
    client, other = connect(endpoints[0]), connect(endpoints[1])
    for part in keys, bodies, transactions, watches, leases:
        guarded(part, client)
    guarded(locks, client, other)
    guarded(users, client, endpoints[0])
    guarded(cluster, client, endpoints)
    print("refused", type(error_of(connect("127.0.0.1:1", 2))).__name__)


def error_of(client: Any) -> Exception | None:
    try:
        client.get("a")
    except Exception as error:
        return error
    return None


def failover(endpoints: list[str]) -> None:
    """A counter is raised through followers, watched by one, with a lock held, while the leader (the last) dies."""
    to_leader, watcher, writer = connect(endpoints[2], 5), connect(endpoints[0], None), connect(endpoints[1], 5)
    counts = Counts()
    events, cancel = watcher.watch("counter", filters=["NODELETE"])

    def follow() -> None:
        for event in events:
            counts.watched([int(event["kv"]["value"])])

    threading.Thread(target=follow, daemon=True).start()
    lease = writer.lease(60)
    lock = writer.lock("failover", ttl=60)
    print("lock", lock.acquire())
    writer.put("session", "kept", lease=lease)

    def raised(client: Any, value: int) -> bool:
        return bool(
            client.create("counter", "1") if value == 1 else client.replace("counter", str(value - 1), str(value))
        )

    def read(client: Any) -> int:
        return int((client.get("counter") or [b"0"])[0])

    counts.reach(lambda value: raised(to_leader, value), lambda: read(to_leader), 20, ERRORS)
    await_kill()
    counts.reach(lambda value: raised(writer, value), lambda: read(writer), 60, ERRORS)
    print("to the dead", type(error_of(to_leader)).__name__)
    report(counts, read(watcher))
    print("lock", lock.is_acquired(), lock.release(), "lease", lease.refresh(), writer.get("session"))
    lease.revoke()
    print("after revoke", writer.get("session"))
    cancel()
    writer.delete("counter")


if __name__ == "__main__":
    {"scenario": scenario, "failover": failover}[sys.argv[1]](sys.argv[2].split(","))
