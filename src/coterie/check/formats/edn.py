"""A strict reader of EDN, the notation in which Jepsen writes histories (https://github.com/edn-format/edn).

The libraries that read EDN in Python have had no release for years, and tell no lines; this one tells where a mistake
is, and bounds what it reads. Maps become dicts, or frozensets of pairs where they are inside other values; vectors and
lists become tuples, sets frozensets, keywords `Word`s. A tag is dropped, and the value behind it kept.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Final, NoReturn

import msgspec

from coterie.check.formats.limits import MOST_DEPTH
from coterie.check.history import HistoryError


class Word(msgspec.Struct, frozen=True):
    """A keyword or symbol, or a truth value, which must not be equal to a string or a number."""

    text: str

    def __str__(self) -> str:
        return self.text


TRUE: Final = Word("true")
FALSE: Final = Word("false")

_TOKEN = re.compile(
    r"""(?P<space>[\s,]+|;[^\n]*)
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<open>\#\{|[({\[])
    |(?P<close>[)}\]])
    |(?P<discard>\#_)
    |(?P<tag>\#[A-Za-z][\w.*+!?$%&=<>/-]*)
    |(?P<char>\\(?:newline|return|space|tab|u[0-9A-Fa-f]{4}|\S))
    |(?P<number>[+-]?\d+(?:N|(?:\.\d+)?(?:[eE][+-]?\d+)?M?)(?![\w.]))
    |(?P<word>:?[A-Za-z.*+!?$%&=<>_/-][\w.*+!?$%&=<>:\#/-]*)
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSES = {"(": ")", "[": "]", "{": "}", "#{": "}"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "b": "\b", "f": "\f"}
_CHARS = {"newline": "\n", "return": "\r", "space": " ", "tab": "\t"}
_MOST_DIGITS: Final = 40

Form = Hashable | dict[str, Hashable]


class Reader:
    """Reads the forms of a text one after the other."""

    def __init__(self, text: str, line: int = 1) -> None:
        self._text = text
        self._place = 0
        self._line = line
        self.depth = 0

    @property
    def line(self) -> int:
        """Of the next token."""
        return self._line

    def next_form(self) -> tuple[int, Form] | None:
        """The line of the next form, and the form; None at the end. Raises `HistoryError`."""
        kind, token = self._token()
        if kind == "end":
            return None
        line = self._line
        return line, self._form(kind, token, whole=True)

    def enter(self, opening: str) -> bool:
        """Step into a vector or list that holds the forms, if the text is one."""
        place, line = self._place, self._line
        kind, token = self._token()
        if kind == "open" and token == opening:
            return True
        self._place, self._line = place, line
        return False

    def leave(self, closing: str) -> bool:
        """Step out of it, if it ends here."""
        place, line = self._place, self._line
        kind, token = self._token()
        if kind == "close" and token == closing:
            return True
        self._place, self._line = place, line
        return False

    def _token(self) -> tuple[str, str]:
        while self._place < len(self._text):
            match = _TOKEN.match(self._text, self._place)
            if match is None:
                rest = self._text[self._place : self._place + 20].splitlines()[0]
                self.fail(f"{rest!r} is no EDN" + (": the string does not end" if rest.startswith('"') else ""))
            self._place = match.end()
            kind, token = str(match.lastgroup), match.group()
            if kind != "space":
                self._line += token.count("\n")
                return kind, token
            self._line += token.count("\n")
        return "end", ""

    def _form(self, kind: str, token: str, whole: bool = False) -> Form:
        while kind in ("discard", "tag"):
            following = self._token()
            if kind == "discard":
                self._form(*following)
                following = self._token()
            kind, token = following
        if kind not in ("open", "string", "number", "char", "word"):
            self.fail(f"{token!r} closes nothing" if kind == "close" else "the text ends within a form")
        if kind == "open":
            return self._collection(token, whole)
        if kind == "string":
            return self._string(token[1:-1])
        if kind == "number":
            return self._number(token)
        if kind == "char":
            name = token[1:]
            return _CHARS.get(name) or (chr(int(name[1:], 16)) if len(name) == 5 else name)
        return None if token == "nil" else Word(token)

    def _collection(self, opening: str, whole: bool) -> Form:
        begun = self._line
        self.depth += 1
        if self.depth > MOST_DEPTH:
            self.fail(f"forms are nested deeper than {MOST_DEPTH}")
        items: list[Hashable] = []
        while True:
            kind, token = self._token()
            if kind == "end":
                self.fail(f"the {opening!r} of line {begun} is never closed")
            if kind == "discard":
                self._form(*self._token())
                continue
            if kind == "close":
                if token != _CLOSES[opening]:
                    self.fail(f"{token!r} closes the {opening!r} of line {begun}")
                break
            item = self._form(kind, token)
            assert not isinstance(item, dict)
            items.append(item)
        self.depth -= 1
        if opening == "#{":
            return frozenset(items)
        if opening != "{":
            return tuple(items)
        return self._map(items, whole)

    def _map(self, items: list[Hashable], whole: bool) -> Form:
        if len(items) % 2:
            self.fail("a map has a key without a value")
        names, values = items[::2], items[1::2]
        if len(set(names)) != len(names):
            self.fail("a map has the same key twice")
        if whole:
            return {str(name).removeprefix(":"): value for name, value in zip(names, values, strict=True)}
        return frozenset(
            (str(name).removeprefix(":") if isinstance(name, Word) else str(name), value)
            for name, value in zip(names, values, strict=True)
        )

    def _string(self, raw: str) -> str:
        def unescaped(match: re.Match[str]) -> str:
            code = match.group(1)
            if code.startswith("u"):
                return chr(int(code[1:], 16))
            if code not in _ESCAPES:
                self.fail(f"'\\{code}' is no escape of EDN")
            return _ESCAPES[code]

        return re.sub(r"\\(u[0-9A-Fa-f]{4}|.)", unescaped, raw, flags=re.DOTALL) if "\\" in raw else raw

    def _number(self, token: str) -> Hashable:
        if len(token) > _MOST_DIGITS:
            self.fail(f"a number has more than {_MOST_DIGITS} digits")
        if "." in token or "e" in token.lower() or token.endswith("M"):
            return float(token.removesuffix("M"))
        return int(token.removesuffix("N"))

    def fail(self, what: str) -> NoReturn:
        """Raises `HistoryError` with the line."""
        raise HistoryError(f"line {self._line}: {what}")
