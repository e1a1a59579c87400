"""A caller of the KV service: keys of its own kind beside those that native clients use."""

from __future__ import annotations

from functools import partial
from typing import Final

from coterie.etcd.wire import rpc
from coterie.machine.kv import protocol as kv
from coterie.sim.api.answers import check_deletion, check_previous, check_range, check_refused_range
from coterie.sim.api.caller import COMPACT, DELETE, PUT, RANGE, TXN, ApiCaller, Refused
from coterie.sim.api.watches import item_of
from coterie.sim.chance import happens
from coterie.sim.verdict import Violation

OWN: Final = b"e"
"""How keys begin that are deleted, too."""
OWN_END: Final = b"f"
OWN_KEYS: Final = 5
MAX_UNDER_WAY: Final = (1, 2, 6)
"""At one member."""
MAX_ANYWHERE: Final = 12
COMPACT_BEHIND: Final = (0, 1, 3, 20)
"""Revisions that a compaction leaves."""
WEIGHTS: Final = (
    ("put_shared", 12),
    ("get_shared", 12),
    ("stale_shared", 5),
    ("compare", 8),
    ("put", 16),
    ("delete", 10),
    ("delete_all", 2),
    ("range", 12),
    ("past", 8),
    ("txn", 14),
    ("compact", 3),
)


class KeyValueCaller(ApiCaller):
    """It puts, deletes, compares, reads, reads the past, and compacts."""

    def do(self) -> None:
        """See `ApiCaller`."""
        if self.waits_here >= self.rng.choice(MAX_UNDER_WAY) or len(self._under_way) >= MAX_ANYWHERE:
            return
        kinds = [kind for kind, weight in WEIGHTS for _ in range(weight)]
        kind = self.rng.choice(kinds)
        if kind == "put_shared":
            self.write_shared(self._shared_key(), _ignore)
        elif kind == "get_shared":
            self.read_shared(self._shared_key(), serializable=False, then=_ignore)
        elif kind == "stale_shared":
            self.read_shared(self._shared_key(), serializable=True, then=_ignore)
        elif kind == "compare":
            self._compare()
        elif kind == "put":
            self._put()
        elif kind == "delete":
            self._delete(kv.DeleteRange(self._own_key(), b"", happens(self.rng, 500)))
        elif kind == "delete_all":
            self._delete(kv.DeleteRange(OWN, OWN_END, happens(self.rng, 500)))
        elif kind == "range":
            self._range(kv.Range(OWN, OWN_END, 0, self.rng.choice((0, 0, 2))))
        elif kind == "past":
            newest = self.judge.seen
            self._range(kv.Range(OWN, OWN_END, max(1, newest + self.rng.choice((1, 0, -1, -2, -10, -30)))))
        elif kind == "txn":
            self._txn()
        else:
            self._compact()

    def _own_key(self) -> bytes:
        return OWN + b"%d" % self.rng.randrange(OWN_KEYS)

    def _fail(self, kind: str, answer: Refused) -> None:
        """An operation that writes nothing, or nothing that can be told apart, was refused."""
        self.judge.fail(self.begin(kind, b""), self.now, answer.happened)

    # -- one key -----------------------------------------------------------------------------------

    def _compare(self) -> None:
        """As native clients compare (`workload.Workload`): a put where the key was changed last at this revision."""
        key, value = b"c%d" % self.rng.randrange(OWN_KEYS - 1), self.value()
        current = self.judge.latest(key)[0] if self.rng.randrange(4) else self.rng.randrange(1, 50)
        op = self.begin("cas", key, value)
        request = rpc.TxnRequest(
            compare=[rpc.Compare(key=key, target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, mod_revision=current)],
            success=[rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value))],
            failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=key))],
        )

        def done(answer: rpc.TxnResponse | Refused) -> None:
            if isinstance(answer, Refused):
                self.judge.fail(op, self.now, answer.happened)
            else:
                self.judge.wrote(op, self.now, answer.header.revision, answer.succeeded)

        self.ask(TXN, request, done)

    def _put(self) -> None:
        key, value, previous = self._own_key(), self.value(), happens(self.rng, 400)
        op = self.begin("put", key, value)

        def done(answer: rpc.PutResponse | Refused) -> None:
            if isinstance(answer, Refused):
                self.judge.fail(op, self.now, answer.happened)
                return
            self.judge.wrote(op, self.now, answer.header.revision, True)
            if previous:
                found = item_of(answer.prev_kv) if answer.HasField("prev_kv") else None
                check_previous(self.judge, key, answer.header.revision, found)

        self.ask(PUT, rpc.PutRequest(key=key, value=value, prev_kv=previous), done)

    def _delete(self, deletion: kv.DeleteRange) -> None:
        floor = self.judge.seen

        def done(answer: rpc.DeleteRangeResponse | Refused) -> None:
            if isinstance(answer, Refused):
                self._fail("delete", answer)
                return
            self.judge.figures.completed += 1
            items = [item_of(found) for found in answer.prev_kvs]
            check_deletion(self.judge, deletion, floor, answer.header.revision, answer.deleted, items)

        request = rpc.DeleteRangeRequest(key=deletion.key, range_end=deletion.end, prev_kv=deletion.want_previous)
        self.ask(DELETE, request, done)

    # -- several keys ----------------------------------------------------------------------------

    def _range(self, question: kv.Range) -> None:
        request = rpc.RangeRequest(
            key=question.key, range_end=question.end, revision=question.revision, limit=question.limit
        )
        self.ask(RANGE, request, partial(self._ranged, question, self.judge.seen))

    def _ranged(self, question: kv.Range, floor: int, answer: rpc.RangeResponse | Refused) -> None:
        if isinstance(answer, Refused):
            self._fail("range", answer)
            check_refused_range(self.judge, question, floor, answer.text)
            return
        self.judge.figures.completed += 1
        items = [item_of(found) for found in answer.kvs]
        check_range(self.judge, question, floor, answer.header.revision, items, answer.count, answer.more)

    def _txn(self) -> None:
        """Two keys are written and one is deleted, if one of them is as it was; else another one is written."""
        keys = self.rng.sample(range(OWN_KEYS), 3)
        first, second, third = (OWN + b"%d" % key for key in keys)
        value, other = self.value(), self.value()
        item = self.judge.model.item(first)
        version = item.version if item is not None and self.rng.randrange(4) else 0
        request = rpc.TxnRequest(
            compare=[
                rpc.Compare(key=first, target=rpc.Compare.VERSION, result=rpc.Compare.EQUAL, version=version),
                rpc.Compare(key=second, target=rpc.Compare.CREATE, result=rpc.Compare.NOT_EQUAL, create_revision=2),
            ],
            success=[
                rpc.RequestOp(request_put=rpc.PutRequest(key=first, value=value)),
                rpc.RequestOp(request_put=rpc.PutRequest(key=second)),
                rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=third, prev_kv=True)),
            ],
            failure=[
                rpc.RequestOp(request_put=rpc.PutRequest(key=third, value=other)),
                rpc.RequestOp(request_range=rpc.RangeRequest(key=third)),
            ],
        )
        done, undone = self.begin("cas", first, value), self.begin("cas", third, other)

        def told(answer: rpc.TxnResponse | Refused) -> None:
            if isinstance(answer, Refused):
                self.judge.fail(done, self.now, answer.happened)
                self.judge.fail(undone, self.now, answer.happened)
                return
            revision = answer.header.revision
            self.judge.wrote(done, self.now, revision, answer.succeeded)
            self.judge.wrote(undone, self.now, revision, not answer.succeeded)
            self._check_txn(answer, third, other)

        self.ask(TXN, request, told)

    def _check_txn(self, answer: rpc.TxnResponse, third: bytes, other: bytes) -> None:
        """What its parts are answered."""
        revision = answer.header.revision
        if answer.succeeded:
            gone = self.judge.model.item(third, revision - 1)
            found = [item_of(each) for each in answer.responses[2].response_delete_range.prev_kvs]
            if found != ([gone] if gone is not None else []):
                raise Violation("write-true", f"a transaction at {revision} says it deleted {found}; it was {gone}")
            return
        found = [item_of(each) for each in answer.responses[1].response_range.kvs]
        if [item.value for item in found] != [other]:
            raise Violation("write-true", f"a transaction at {revision} wrote {other!r} and read {found}")

    def _compact(self) -> None:
        revision = self.judge.seen - self.rng.choice(COMPACT_BEHIND)

        def done(answer: rpc.CompactionResponse | Refused) -> None:
            compacted = self.judge.model.compacted
            if isinstance(answer, Refused):
                self._fail("compact", answer)
                if answer.says("compacted") and revision > compacted:
                    raise Violation("write-true", f"{revision} is said to be compacted; that was {compacted}")
            elif revision > compacted:
                raise Violation("write-true", f"compaction at {revision} is acknowledged; it was {compacted}")

        if revision > 1:
            self.ask(COMPACT, rpc.CompactionRequest(revision=revision), done)


def _ignore(_: bool) -> None:
    """What became of it is in the history."""
