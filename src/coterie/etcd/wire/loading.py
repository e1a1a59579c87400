"""How the messages come into the program: from their descriptors, into a pool of their own.

Of their own, because the protobuf library's common pool takes each name once: a program that embeds a node and also
uses an etcd client library, whose messages have the same names, could not start.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

DESCRIPTORS = "messages.binpb"
"""Made from the `.proto` files by `make messages`."""


@cache
def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    raw = files("coterie.etcd.wire").joinpath(DESCRIPTORS).read_bytes()
    for file in FileDescriptorSet.FromString(raw).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def messages(file: str) -> dict[str, object]:
    """The classes of the file's messages, and the values of its enumerations, by name."""
    descriptor = _pool().FindFileByName(file)
    found: dict[str, object] = {
        name: GetMessageClass(message) for name, message in descriptor.message_types_by_name.items()
    }
    for enumeration in descriptor.enum_types_by_name.values():
        found.update({value.name: value.number for value in enumeration.values})
    return found
