"""Every notation is found by itself and read rightly; whatever is malformed is refused with line and field."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.check.histories import OBJECTS, histories

from coterie.check import HistoryError, Operation, linearizable, model_for, read_history, write_json_lines
from coterie.check.formats import edn, limits

LOG = """\
INFO  jepsen.core - Worker 0 starting
INFO  jepsen.util - 0\t:invoke\t:write\t3
INFO  jepsen.util - :nemesis\t:info\t:start\tnil
INFO  jepsen.util - 0\t:ok\t:write\t3
INFO  jepsen.util - 1\t:invoke\t:cas\t[3 4]
INFO  jepsen.util - 2\t:invoke\t:cas\t[3 5]
INFO  jepsen.util - 1\t:ok\t:cas\t[3 4]
INFO  jepsen.util - 2\t:fail\t:cas\t[3 5]
INFO  jepsen.util - 3\t:invoke\t:read\tnil
INFO  jepsen.util - 4\t:invoke\t:write\t9
INFO  jepsen.util - 3\t:fail\t:read\t:timed-out
INFO  jepsen.util - 4\t:info\t:write\t:timed-out
INFO  jepsen.util - 5\t:invoke\t:read\tnil
"""
EDN = """\
; a comment
#jepsen.history.Op{:index 0, :time 10, :type :invoke, :process 0, :f :write, :value 3}
{:process :nemesis, :type :info, :f :start, :value {:a [1 2]}}
{:process 0 :type :ok :f :write :value 3 :time 12 #_ignored}
{:process 1, :type :invoke, :f :read, :value nil, :time 13} {:process 1, :type :ok, :f :read, :value 3N, :time 14}
"""
LINES = """\
{"process":"a","type":"invoke","f":"write","value":3,"time":5}
{"process":"a","type":"ok","f":"write","time":6}

{"process":"b","type":"invoke","f":"read"}
{"process":"b","type":"ok","f":"read","value":3,"time":9}
"""


def read(text: str) -> list[tuple[object, ...]]:
    found = read_history(text.encode())
    return [(o.process, o.f, o.key, o.argument, o.result, o.start, o.end if o.known else None, o.line) for o in found]


def test_jepsens_log_is_read_a_failed_comparison_as_an_answer_and_what_did_not_happen_not_at_all() -> None:
    assert read(LOG) == [
        (0, "write", None, 3, 3, 0, 1, 2),
        (1, "cas", None, (3, 4), True, 2, 4, 5),
        (2, "cas", None, (3, 5), False, 3, 5, 6),
        (4, "write", None, 9, None, 7, None, 10),
        (5, "read", None, None, None, 10, None, 13),
    ]
    assert model_for(read_history(LOG.encode())).name == "cas-register"


@pytest.mark.parametrize("text", [EDN, "[" + EDN + "]"])
def test_edn_is_read_one_map_after_the_other_or_in_a_vector(text: str) -> None:
    assert [line[:-1] for line in read(text)] == [(0, "write", None, 3, 3, 0, 1), (1, "read", None, None, 3, 2, 3)]


def test_a_failed_comparison_of_edn_only_did_not_happen() -> None:
    text = "{:process 0, :type :invoke, :f :cas, :value [1 2]}{:process 0, :type :fail, :f :cas, :value [1 2]}"
    assert read(text) == []


def test_pairs_of_key_and_value_are_independent_objects_where_all_are() -> None:
    text = """
    {:process 0, :type :invoke, :f :write, :value [7 3]} {:process 0, :type :ok, :f :write, :value [7 3]}
    {:process 0, :type :invoke, :f :cas, :value [8 [1 2]]} {:process 0, :type :ok, :f :cas, :value [8 [1 2]]}
    {:process 0, :type :invoke, :f :read, :value [7 nil]} {:process 0, :type :ok, :f :read, :value [7 3]}"""
    assert [line[:5] for line in read(text)] == [
        (0, "write", 7, 3, 3), (0, "cas", 8, (1, 2), True), (0, "read", 7, None, 3),
    ]  # fmt: skip
    alone = "{:process 0, :type :invoke, :f :cas, :value [3 0]}"
    assert read(alone)[0][2:4] == (None, (3, 0)), "a comparison of two numbers has no key"


def test_the_notation_with_keys_and_appends_is_edn() -> None:
    text = r"""
{:process 0, :type :invoke, :f :append, :key "0", :value "x \"0\" y"}
{:process 0, :type :ok, :f :append, :key "0", :value ""}"""
    assert read(text) == [(0, "append", "0", 'x "0" y', "", 0, 1, 2)]
    assert model_for(read_history(text.encode())).name == "key-value"


def test_our_own_lines_are_read() -> None:
    assert read(LINES) == [("a", "write", None, 3, None, 0, 1, 1), ("b", "read", None, None, 3, 2, 3, 4)]


def test_truth_is_no_number_and_a_list_is_a_list() -> None:
    written = '{"process":0,"type":"invoke","f":"write","value":%s}\n{"process":0,"type":"ok","f":"write"}\n'
    seen = '{"process":0,"type":"invoke","f":"read"}\n{"process":0,"type":"ok","f":"read","value":%s}\n'
    for value, found, fits in (
        ("true", "1", False),
        ("true", "true", True),
        ("[1,2]", "[1,2]", True),
        ("[]", "null", False),
    ):
        history = read_history((written % value + seen % found).encode())
        assert linearizable(history, model_for(history)).holds is fits, (value, found)


def test_the_kv_machines_answers_choose_its_model() -> None:
    text = (
        '{"process":0,"type":"invoke","f":"put","key":"a","value":"1"}\n'
        '{"process":0,"type":"ok","f":"put","value":{"revision":5}}\n'
        '{"process":0,"type":"invoke","f":"cas","key":"a","value":["1","2"]}\n'
        '{"process":0,"type":"ok","f":"cas","value":{"succeeded":true,"revision":6}}\n'
        '{"process":0,"type":"invoke","f":"get","key":"a"}\n'
        '{"process":0,"type":"ok","f":"get","value":{"value":"2","revision":6,"mod":6}}\n'
    )
    history = read_history(text.encode())
    assert model_for(history).name == "kv-revisions"
    assert linearizable(history, model_for(history)).holds is True
    worse = read_history(text.replace('"revision":6}}', '"revision":7}}').encode())
    assert linearizable(worse, model_for(worse)).holds is False


@pytest.mark.parametrize("name", OBJECTS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_again(name: str, data: st.DataObject) -> None:
    model, fields = OBJECTS[name]
    history = data.draw(histories(fields))
    again = read_history("\n".join(write_json_lines(history)).encode())
    assert sorted((o.process, o.f, o.known) for o in again) == sorted((o.process, o.f, o.known) for o in history)
    assert linearizable(again, model).holds is linearizable(history, model).holds


def test_what_was_concurrent_is_so_when_it_is_read_again() -> None:
    ends_as_another_begins = [
        Operation(process=0, f="write", argument=1, start=0, end=4),
        Operation(process=1, f="read", start=4, end=5),
    ]
    again = read_history("\n".join(write_json_lines(ends_as_another_begins)).encode())
    assert again[1].start < again[0].end
    assert linearizable(again, model_for(again)).holds is True


def event(**fields: object) -> str:
    return json.dumps({"process": 0, "type": "invoke", "f": "read"} | fields) + "\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the file is empty"),
        ("\n\nhello\n", "line 3: 'hello' begins no history"),
        (event(type="ok"), "line 1: field 'process': 0 ends read, and has begun nothing"),
        (event() + event(), r"line 2: field 'process': 0 begins read, and its read of line 1 has not ended"),
        (event() + event(type="ok", f="write"), "line 2: field 'f': process 0 ends write, and began read at line 1"),
        (event(key="a") + event(type="ok", key="b"), "line 2: field 'key' is 'b'; at line 1 .* began with 'a'"),
        (event(time=5) + event(process=1, time=4), "line 2: field 'time' is 4, before the 5 of line 1"),
        (event() + '{"process":0,"type":"o', "line 2: Input data was truncated"),
        (event(type="maybe"), r"line 1: Invalid enum value 'maybe' - at `\$.type`"),
        (event(process=None), r"line 1: Expected `int \| str`, got `null` - at `\$.process`"),
        (event(colour="red"), "line 1: Object contains unknown field `colour`"),
        ('{"process":0,"f":"read"}', "line 1: Object missing required field `type`"),
        (event(value=json.loads("[" * 40 + "]" * 40)), "line 1: field 'value' is nested deeper than 32"),
        ('[{"process":0}]', "line 1: the file is a JSON array; write one object a line"),
        ("{:process 0, :type :invoke, :f :read", r"line 1: the '\{' of line 1 is never closed"),
        ("{:process 0}\n", "line 1: field ':type' is missing"),
        ("{:process 0, :type :invoke}\n", "line 1: field ':f' is missing"),
        ("{:process 0, :type :maybe, :f :read}", "line 1: field 'type' is 'maybe'; allowed are invoke, ok, fail, info"),
        ('{:process "x", :type :ok, :f :read}', "line 1: field ':process' is 'x'"),
        ("{:process :x, :type :ok, :f :read}", "line 1: field ':process' is :x"),
        ("{:process 0, :type :ok, :f 3}", "line 1: field ':f' is 3; allowed is a keyword"),
        ("{:process 0, :type :ok, :f :read, :time 1.5}", "line 1: field ':time' is 1.5"),
        ("{:process 0 :process 1}", "line 1: a map has the same key twice"),
        ("{:process}", "line 1: a map has a key without a value"),
        ('{:process 0, :type :invoke, :f :read, :value "x}', "line 1: .* the string does not end"),
        ("{:process 0, :value " + "[" * 40 + "]" * 40 + "}", "line 1: forms are nested deeper than 32"),
        ("{:process 0, :value " + "9" * 41 + "}", "line 1: a number has more than 40 digits"),
        ("{:process 0, :value [1 2)}", r"line 1: '\)' closes the '\[' of line 1"),
        ("[{:process 0, :type :invoke, :f :read}\n", "line 2: the vector of the history is never closed"),
        ("{:process 0, :type :invoke, :f :read} 17", "line 1: 17 stands where a map of an event must be"),
        ("INFO  jepsen.util - 0\t:invoke\t:read\nhello", "line 1: the field 'value' is missing"),
        ("INFO  jepsen.util - 0\t:invoke\t:read\tnil\nhello", "line 2: 'hello' is no line of Jepsen's log"),
        ("INFO  jepsen.util - 0\t:invo", "line 1: '0\\\\t:invo' has not the four fields"),
        ("INFO  jepsen.util - 0\t:begin\t:read\tnil", "line 1: field 'type' is 'begin'"),
        ("INFO  jepsen.util - 0\t:invoke\t:write\t3 4", "line 1: field 'value' is '3 4'"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(HistoryError, match=said) as refused:
        read_history(text.encode())
    assert refused.value.advice


def test_bytes_that_are_no_text_and_sizes_beyond_the_limits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HistoryError, match="line 2: byte 0xff is not UTF-8"):
        read_history(event().encode() + b"\xff")
    with pytest.raises(HistoryError, match=r"line 2 has \d+ bytes; at most 1048576"):
        read_history(event().encode() + b"x" * (limits.MOST_LINE_BYTES + 1))
    monkeypatch.setattr("coterie.check.formats.reading.MOST_BYTES", 1000)
    with pytest.raises(HistoryError, match="the file has 1001 bytes; at most 1000"):
        read_history(b" " * 1001)
    monkeypatch.setattr("coterie.check.formats.events.MOST_EVENTS", 2)
    with pytest.raises(HistoryError, match="line 3: there are more than 2 events"):
        read_history((event() + event(type="ok") + event()).encode())


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='{}[]()"\\#_;:,. \n-+0123456789abfinotruekJn', max_size=60))
def test_whatever_stands_in_a_file_only_a_history_error_comes_out(text: str) -> None:
    for begins in ("", "{:process 0 ", '{"process":0,', "INFO  jepsen.util - 0\t:invoke\t:read\t"):
        assert _refused(begins + text) is None or re.match(r"line \d+: ", str(_refused(begins + text)))


def _refused(text: str) -> HistoryError | None:
    try:
        read_history(text.encode())
    except HistoryError as error:
        return error
    return None


def test_edn_values_are_told_apart() -> None:
    text = r'nil true [1 2] (3) #{4} {:a 1} -5 1.5 2e3 "a\n\u0041" \a \newline \u0041 sym :k/w #inst "x" #_ 7 8M'
    reader = edn.Reader(text)
    forms = []
    while (found := reader.next_form()) is not None:
        forms.append(found[1])
    assert forms == [
        None, edn.TRUE, (1, 2), (3,), frozenset({4}), {"a": 1}, -5, 1.5, 2000.0, "a\nA", "a", "\n", "A",
        edn.Word("sym"), edn.Word(":k/w"), "x", 8.0,
    ]  # fmt: skip
