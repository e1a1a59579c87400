"""Header blocks to fields: HPACK (RFC 7541), on the tables and the Huffman code of the `hpack` library.

The walk along a block is our own. The library's takes 24 µs for a block of 15 bytes with eight fields, as every Go
client with a timeout sends it, and ours 7 (`bench/http2.py --blocks`); the library's copies the rest of the block for
each literal, so that its time grows with the square of the block, and reads integers of any length.
"""

from __future__ import annotations

from typing import Final

from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from coterie.http2.errors import ConnectionFault, ErrorCode

Fields = list[tuple[bytes, bytes]]
FIELD_BYTES: Final = 32
"""What a field counts for besides its name and value (RFC 7541, section 4.1)."""
TABLE_BYTES: Final = HeaderTable.DEFAULT_SIZE
"""SETTINGS_HEADER_TABLE_SIZE, which we leave at its initial value."""
_STATIC: Final = HeaderTable.STATIC_TABLE
_STATIC_LENGTH: Final = len(_STATIC)
_MAX_INTEGER_SHIFT: Final = 21
"""Integers have at most four bytes after their prefix: no length or index in a block is above 2**28."""


class BlockDecoder:
    """Decodes the header blocks of one connection, each in its turn."""

    def __init__(self, max_list_bytes: int) -> None:
        self._table = HeaderTable()
        self._max_list_bytes = max_list_bytes
        self.changes = 0
        """Grows with each change of the dynamic table: until then a block means what it meant before."""

    def decode(self, block: bytes) -> tuple[Fields, int]:
        """The fields, and their size as RFC 9113, section 6.5.2 counts it. Raises `ConnectionFault`."""
        try:
            return self._decode(block)
        except IndexError:
            raise _broken("a header block that ends in the middle of a field") from None
        except HPACKError as error:
            raise _broken(str(error)) from error

    def _decode(self, block: bytes) -> tuple[Fields, int]:
        fields: Fields = []
        size = 0
        position = 0
        end = len(block)
        while position < end:
            first = block[position]
            if first & 0x80:  # Indexed (6.1)
                index = first & 0x7F
                position += 1
                if index == 0x7F:
                    index, position = _integer(block, position, index)
                field = _STATIC[index - 1] if 0 < index <= _STATIC_LENGTH else self._table.get_by_index(index)
            elif first & 0xE0 == 0x20:  # Size update (6.3)
                if fields:
                    raise _broken("the table's size is changed in the middle of a header block")
                position = self._resize(block, position)
                continue
            else:  # Literal (6.2)
                kept = first & 0x40
                field, position = self._literal(block, position, 0x3F if kept else 0x0F)
                if kept:
                    self._table.add(*field)
                    self.changes += 1
            fields.append(field)
            size += len(field[0]) + len(field[1]) + FIELD_BYTES
            if size > self._max_list_bytes:
                text = f"header fields of more than {self._max_list_bytes} bytes"
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, text)
        return fields, size

    def _literal(self, block: bytes, position: int, mask: int) -> tuple[tuple[bytes, bytes], int]:
        index = block[position] & mask
        position += 1
        if index == mask:
            index, position = _integer(block, position, index)
        if index:
            known = _STATIC[index - 1] if index <= _STATIC_LENGTH else self._table.get_by_index(index)
            name = known[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        return (name, value), position

    def _resize(self, block: bytes, position: int) -> int:
        size = block[position] & 0x1F
        position += 1
        if size == 0x1F:
            size, position = _integer(block, position, size)
        if size > TABLE_BYTES:
            raise _broken(f"a header table of {size} bytes, where {TABLE_BYTES} are allowed")
        self._table.maxsize = size
        self.changes += 1
        return position


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    """A string literal (RFC 7541, section 5.2)."""
    first = block[position]
    length = first & 0x7F
    position += 1
    if length == 0x7F:
        length, position = _integer(block, position, length)
    end = position + length
    if end > len(block):
        raise _broken("a header block that ends in the middle of a field")
    text = block[position:end]
    if first & 0x80 and length:
        return decode_huffman(text), end
    return text, end


def _integer(block: bytes, position: int, value: int) -> tuple[int, int]:
    """The bytes of an integer after its prefix, which is full (RFC 7541, section 5.1)."""
    shift = 0
    while True:
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        if shift >= _MAX_INTEGER_SHIFT:
            raise _broken("an integer of more than four bytes in a header block")
        shift += 7


def _broken(text: str) -> ConnectionFault:
    return ConnectionFault(ErrorCode.COMPRESSION_ERROR, text)
