"""Consistency verdicts over histories: docs/check.md.

from coterie.check import CAS_REGISTER, Operation, linearizable

history = [Operation(process=0, f="write", argument=1, start=0, end=5),
           Operation(process=1, f="read", result=None, start=6, end=7)]
assert linearizable(history, CAS_REGISTER).holds is False
"""

from coterie.check.counterexample import Counterexample as Counterexample
from coterie.check.counterexample import smallest as smallest
from coterie.check.formats.json_lines import write_json_lines as write_json_lines
from coterie.check.formats.reading import read_history as read_history
from coterie.check.history import FOREVER as FOREVER
from coterie.check.history import HistoryError as HistoryError
from coterie.check.history import KeepGoing as KeepGoing
from coterie.check.history import Operation as Operation
from coterie.check.lattice import Judgement as Judgement
from coterie.check.lattice import Verdict as Verdict
from coterie.check.lattice import judge as judge
from coterie.check.lattice import satisfies as satisfies
from coterie.check.linearizability import Linearizability as Linearizability
from coterie.check.linearizability import linearizable as linearizable
from coterie.check.models.catalogue import CAS_REGISTER as CAS_REGISTER
from coterie.check.models.catalogue import KEY_VALUE as KEY_VALUE
from coterie.check.models.catalogue import KV_REVISIONS as KV_REVISIONS
from coterie.check.models.catalogue import LOCK as LOCK
from coterie.check.models.catalogue import MODELS as MODELS
from coterie.check.models.catalogue import QUEUE as QUEUE
from coterie.check.models.catalogue import REGISTER as REGISTER
from coterie.check.models.catalogue import SET as SET
from coterie.check.models.catalogue import model_for as model_for
from coterie.check.models.model import Model as Model
from coterie.check.models.revision_calls import record as record
