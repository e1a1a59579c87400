"""Every command of etcd's own `etcdctl` does on Coterie what it does on etcd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.clients.etcdctl import Session, Step, differences
from tests.clients.servers import coterie_server, etcd_server

KEYS = (
    Step("version"),
    Step("put foo bar"),
    Step("put foo bar2 --prev-kv"),
    Step("put foo1 one"),
    Step("put foo2 two"),
    Step("put foo3 three"),
    Step("put --ignore-value foo3"),
    Step("put --ignore-value nothing"),
    Step("put foo4 --", stdin="from standard input"),
    Step("get foo"),
    Step("get foo -w fields"),
    Step("get foo -w json"),
    Step("get foo foo3"),
    Step("get --prefix foo --limit=2"),
    Step("get --prefix foo --order=DESCEND --sort-by=VALUE"),
    Step("get --prefix foo --keys-only"),
    Step("get --prefix foo --count-only -w fields"),
    Step("get --from-key foo2"),
    Step("get --rev=2 foo"),
    Step("get --rev=1000 foo"),
    Step("get --print-value-only foo"),
    Step("get --consistency=s foo"),
    Step("get nothing"),
    Step("del nothing"),
    Step("del foo4 --prev-kv"),
    Step("del --prefix foo2"),
    Step(
        "txn",
        stdin='value("foo") = "bar2"\nversion("foo1") > "0"\n\nput both yes\nget foo\ndel foo1\n\nput both no\n\n',
    ),
    Step("txn", stdin='create("nothing") = "0"\n\nput created yes\n\nget created\n\n'),
    Step("txn", stdin='mod("created") < "2"\n\nput created no\n\nget created\nget foo\n\n'),
    Step("txn", stdin="\n\nput twice 1\nput twice 2\n\n\n"),
    Step("txn --interactive", stdin='value("created") = "yes"\n\nput interactive yes\n\n\n'),
    Step("compaction 5"),
    Step("compaction 5"),
    Step("compaction 1000"),
    Step("compaction --physical 6"),
    Step("get --rev=3 foo"),
    Step("watch --rev=3 foo"),
)
LEASES = (
    Step("lease grant 500", keep=(("LEASE", r"lease ([0-9a-f]+) granted"),)),
    Step("put --lease=$LEASE leased value"),
    Step("put --ignore-lease leased again"),
    Step("get leased -w fields", ignore=r'"Lease" : (\d+|<id>)'),
    Step("lease timetolive $LEASE", ignore=r"remaining\(\d+s\)"),
    Step("lease timetolive --keys $LEASE", ignore=r"remaining\(\d+s\)"),
    Step("lease keep-alive --once $LEASE"),
    Step("lease list"),
    Step("lease revoke $LEASE"),
    Step("get leased"),
    Step("lease revoke $LEASE"),
    Step("lease timetolive $LEASE"),
    Step("lease keep-alive --once $LEASE"),
    Step("put --lease=1234 leased value"),
    Step("lease grant 0", ignore="(?<=chosen/)[0-9a-f<>id]+|(?<=guard/)[0-9a-f<>id]+"),
)
CLUSTER = (
    Step("endpoint health", sorted=True),
    Step("endpoint status -w simple", sorted=True, ignore=r"(true|false), (true|false), \d+, \d+, \d+|[\d.]+ [kM]?B"),
    Step("endpoint hashkv", ignore=r", \d+"),
    Step("member list", sorted=True, ignore="n[123]"),
    Step("member remove 1234"),
    Step("member promote 1234"),
    Step("member update 1234 --peer-urls=http://127.0.0.1:1"),
    Step("member add n1 --peer-urls=nonsense"),
    Step("move-leader 1234", ignore="no leader endpoint given.*|.*"),
    Step("alarm list"),
    Step("alarm disarm"),
    Step("defrag", sorted=True),
    Step("check perf --load=nonsense"),
)
LOCKS = (
    Step("lock guard echo held", ignore="(?<=chosen/)[0-9a-f<>id]+|(?<=guard/)[0-9a-f<>id]+"),
    Step("lock guard --ttl=5 echo held again", ignore="(?<=chosen/)[0-9a-f<>id]+|(?<=guard/)[0-9a-f<>id]+"),
    Step("get --prefix guard"),
    Step("elect --listen nobody", seconds=1),
    Step("elect chosen me", seconds=1, ignore="(?<=chosen/)[0-9a-f<>id]+|(?<=guard/)[0-9a-f<>id]+"),
    Step("elect --listen chosen", seconds=1, ignore="(?<=chosen/)[0-9a-f<>id]+|(?<=guard/)[0-9a-f<>id]+"),
    Step("watch --rev=2 --prefix chosen", seconds=1, ignore="(?<=chosen/)[0-9a-f<>id]+|(?<=guard/)[0-9a-f<>id]+"),
)
AUTH = (
    Step("auth status"),
    Step("auth enable"),
    Step("user add root:secret"),
    Step("user add root:secret"),
    Step("user add ann:ann"),
    Step("user add bob --no-password"),
    Step("user list"),
    Step("role add reader"),
    Step("role add reader"),
    Step("role grant-permission reader read foo"),
    Step("role grant-permission --prefix=true reader readwrite own/"),
    Step("role grant-permission nobody read foo"),
    Step("role get reader"),
    Step("role list"),
    Step("user grant-role ann reader"),
    Step("user grant-role ann nobody"),
    Step("user get ann"),
    Step("user grant-role root root"),
    Step("auth enable"),
    Step("get foo"),
    Step("--user=ann:wrong get foo"),
    Step("--user=ann:ann get foo"),
    Step("--user=ann:ann put foo forbidden"),
    Step("--user=ann:ann put own/key allowed"),
    Step("--user=ann:ann get own/key own/z"),
    Step("--user=ann:ann get --prefix o"),
    Step("--user=ann:ann del own/key"),
    Step("--user=ann:ann role list"),
    Step("--user=ann:ann user get ann"),
    Step("--user=ann:ann txn", stdin='value("foo") = "x"\n\nget foo\n\nput other no\n\n'),
    Step("--user=root:secret put foo by-root"),
    Step("--user=root:secret user passwd ann --interactive=false", stdin="new"),
    Step("--user=ann:ann get foo"),
    Step("--user=ann:new get foo"),
    Step("--user=root:secret role revoke-permission reader foo"),
    Step("--user=ann:new get foo"),
    Step("--user=root:secret user revoke-role ann reader"),
    Step("--user=root:secret user revoke-role root root"),
    Step("--user=root:secret user delete root"),
    Step("--user=root:secret role delete root"),
    Step("--user=root:secret role delete reader"),
    Step("--user=root:secret user delete bob"),
    Step("--user=root:secret auth status"),
    Step("--user=root:secret auth disable"),
    Step("auth disable"),
    Step("user list"),
    Step("get foo"),
)
SNAPSHOTS = (
    Step("snapshot save kept.db --endpoints=$E0", ignore=r"Snapshot saved.*|\{.*"),
    Step("etcdutl snapshot status kept.db -w fields", ignore=r'"(Hash|Size|TotalKey|Keys|Total size)" : \d+'),
    Step("etcdutl snapshot restore kept.db --data-dir=restored", ignore=r".*"),
)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory, protocol: str) -> Iterator[tuple[Session, Session]]:
    scratch = tmp_path_factory.mktemp("etcdctl")
    with etcd_server(scratch) as theirs, coterie_server(scratch) as ours:
        yield Session(theirs, scratch), Session(ours, scratch)


@pytest.mark.slow
@pytest.mark.any_protocol
@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(KEYS, id="keys"),
        pytest.param(LEASES, id="leases"),
        pytest.param(CLUSTER, id="cluster"),
        pytest.param(LOCKS, id="locks"),
        pytest.param(SNAPSHOTS, id="snapshots"),
        pytest.param(AUTH, id="auth"),
    ],
)
def test_every_step_of_the_scenario_prints_what_it_prints_on_etcd(
    sessions: tuple[Session, Session], steps: tuple[Step, ...]
) -> None:
    found = differences(steps, sessions)
    assert not found, "\n\n".join(found)
