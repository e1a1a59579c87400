"""What the machine did of what the API asked: each law speaks up when it is broken."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from tests.sim.api.applied_history import Applied

from coterie.machine.kv import protocol as kv
from coterie.machine.kv.leases import Lease
from coterie.machine.kv.machine import KeyValue
from coterie.sim.api.model import SECOND
from coterie.sim.verdict import Violation


def broken(law: str) -> pytest.RaisesExc[Violation]:
    """The law is broken there, and no other."""
    return pytest.raises(Violation, match=rf"^\[{law}\]")


def created(key: bytes, revision: int) -> kv.Compare:
    return kv.Compare(key, kv.Target.CREATE, kv.Relation.EQUAL, revision)


def test_an_honest_machine_breaks_no_law() -> None:
    made = Applied()
    made.put(b"e1", b"a")
    made.put(b"e2", b"b")
    made.run(kv.Put(b"e1", b"c", want_previous=True))
    made.run(kv.Put(b"e1", b"", ignore_value=True))
    made.run(kv.DeleteRange(b"e", b"f", want_previous=True))
    made.run(kv.Txn((created(b"e1", 0),), (kv.Put(b"e1", b"d"), kv.Put(b"e3", b"e"), kv.Range(b"e", b"f"))))
    made.run(kv.Txn((created(b"e1", 0),), (), (kv.Range(b"e1"), kv.DeleteRange(b"e3"))))
    made.run(kv.Compact(4))
    made.grant(7)
    made.put(b"l1", b"f", lease=7)
    made.put(b"l2", b"g", lease=7)
    made.run(kv.KeepAlive(7), seconds=1)
    made.run(kv.TimeToLive(7, keys=True), seconds=1)
    made.run(kv.KeepAlive(8))
    made.run(kv.Put(b"e9", b"h"), seconds=1)
    assert made.model.leases == {}
    assert [change.item.key for change in made.model.events[-2]] == [b"l1", b"l2"]
    assert made.judge.figures.leases_ended == 1


def test_effects_true_a_reply_that_is_not_what_the_api_says() -> None:
    made = Applied()
    made.put(b"e1", b"a")
    made.pass_time()
    with broken("effects-true"):
        made.give(kv.DeleteRange(b"e1"), made.now, said=kv.DeleteReply(3, 0))


def test_effects_true_a_change_that_nobody_asked_for() -> None:
    made = Applied()
    made.machine.store.put(b"e5", b"!")
    with broken("effects-true"):
        made.put(b"e1", b"a")


def test_effects_true_a_wrong_version() -> None:
    made = Applied()
    made.put(b"e1", b"a")
    made.machine.store.put(b"e1", b"?")
    made.machine.store.rollback()
    made.model._items[b"e1"] = kv.Item(b"e1", b"a", 2, 2, 5)
    with broken("effects-true"):
        made.put(b"e1", b"b")


def test_compare_true_a_transaction_that_succeeds_though_its_comparison_does_not_hold() -> None:
    made = Applied()
    made.put(b"e1", b"a")
    made.pass_time()
    with broken("compare-true"):
        made.give(
            kv.Txn((created(b"e1", 0),), (kv.Put(b"e2", b"b"),)),
            made.now,
            said=kv.TxnReply(3, True, (kv.PutReply(3),)),
        )


class Impatient(KeyValue):
    """Ends leases a second too soon."""

    def next_timer(self) -> int | None:
        timer = super().next_timer()
        return None if timer is None else timer - SECOND

    def pass_time(self, index: int, time: int) -> None:
        super().pass_time(index, time + SECOND)


class Forgetful(KeyValue):
    """Ends no lease."""

    def next_timer(self) -> int | None:
        return None


class Piecemeal(KeyValue):
    """Deletes a lease's keys one by one."""

    def pass_time(self, index: int, time: int) -> None:
        for lease in self.space.leases.granted.values():
            if lease.deadline <= time:
                self._delete_each(lease, sorted(lease.keys))
        super().pass_time(index, time)

    def _delete_each(self, lease: Lease, keys: Iterable[bytes]) -> None:
        for key in keys:
            self.space.data.delete(key)
            self.space.commit()


def leased(machine: KeyValue) -> Applied:
    made = Applied(machine)
    made.grant(7)
    made.put(b"l1", b"a", lease=7)
    made.put(b"l2", b"b", lease=7)
    return made


def test_lease_not_early_a_machine_that_ends_leases_too_soon() -> None:
    with broken("lease-not-early"):
        leased(Impatient()).run(kv.Put(b"e1", b"c"), seconds=1.5)


def test_lease_ends_a_machine_that_ends_none() -> None:
    with broken("lease-ends"):
        leased(Forgetful()).run(kv.Put(b"e1", b"c"), seconds=2)


def test_lease_atomic_keys_that_go_one_by_one() -> None:
    with broken("lease-atomic"):
        leased(Piecemeal()).run(kv.Put(b"e1", b"c"), seconds=2)


def test_lease_atomic_a_lease_that_takes_several_revisions_to_be_revoked() -> None:
    made = leased(KeyValue())
    made.pass_time()
    with broken("lease-atomic"):
        made.give(kv.Revoke(7), made.now, said=kv.LeaseReply(5, 7, 0))


def test_acknowledged_stays_the_end_compares_every_key_with_what_was_applied() -> None:
    made = Applied()
    made.put(b"e1", b"a")

    class Reading:
        def query(self, question: bytes) -> bytes:
            reply = made.machine.query(question)
            assert isinstance(reply, bytes)
            return reply

    made.judge.check_replica(1, Reading())  # type: ignore[arg-type]
    made.machine.store.put(b"e2", b"!")
    made.machine.store.commit()
    with broken("acknowledged-stays"):
        made.judge.check_replica(1, Reading())  # type: ignore[arg-type]
