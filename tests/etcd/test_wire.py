"""The messages are what the `.proto` files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from coterie.etcd.wire import kv, making, rpc
from coterie.etcd.wire.loading import DESCRIPTORS

WIRE = Path(making.__file__).parent


def test_what_is_loaded_was_made_from_the_proto_files(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="pip install grpcio-tools")
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    making.make(tmp_path)
    made, stored = (FileDescriptorSet.FromString((place / DESCRIPTORS).read_bytes()) for place in (tmp_path, WIRE))
    assert made == stored, "the .proto files were changed: `make messages`"
    for name in making.NAMES:
        stub = f"{name}.pyi"
        assert (tmp_path / stub).read_text().split() == (WIRE / stub).read_text().split(), f"{stub}: `make messages`"


def test_messages_live_beside_those_of_a_client_library_in_one_process() -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import Default

    theirs = FileDescriptorProto(name="kv.proto", package="mvccpb")
    theirs.message_type.add(name="KeyValue")
    Default().AddSerializedFile(theirs.SerializeToString())
    assert kv.KeyValue(key=b"k").SerializeToString() == b"\x0a\x01k"


def test_a_message_is_read_as_it_was_written() -> None:
    put = rpc.PutRequest(key=b"k", value=b"v", lease=7, prev_kv=True)
    assert rpc.PutRequest.FromString(put.SerializeToString()) == put
    assert put.SerializeToString() == b"\x0a\x01k\x12\x01v\x18\x07\x20\x01"
