"""`python -m coterie.etcd.wire.making [DIRECTORY]`: make `messages.binpb` and the `.pyi` files from the `.proto` files.

Needs `grpcio-tools`; for those who change the `.proto` files (`make messages`).
"""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from coterie.etcd.wire.loading import DESCRIPTORS

NAMES = ("kv", "auth", "rpc", "lock", "election", "health")


def make(target: Path) -> None:
    """Write what is made into the directory. Raises `RuntimeError` if the compiler refuses the files."""
    from grpc_tools import protoc

    here = Path(__file__).parent
    library = files("grpc_tools").joinpath("_proto")
    sources = [f"{name}.proto" for name in NAMES]
    with TemporaryDirectory() as scratch:
        out = [f"--descriptor_set_out={scratch}/{DESCRIPTORS}", f"--pyi_out={scratch}"]
        if protoc.main(["protoc", f"-I{here}", f"-I{library}", *out, *sources]):
            raise RuntimeError(f"protoc refused {', '.join(sources)}")
        (target / DESCRIPTORS).write_bytes((Path(scratch) / DESCRIPTORS).read_bytes())
        for name in NAMES:
            (target / f"{name}.pyi").write_text(_typed((Path(scratch) / f"{name}_pb2.pyi").read_text()))


def _typed(stub: str) -> str:
    """The stub as strict type checkers want it, importing its neighbours from where they are."""
    stub = re.sub(
        r"^import (\w+)_pb2 as _\1_pb2$", r"from coterie.etcd.wire import \1 as _\1_pb2", stub, flags=re.MULTILINE
    )
    return re.sub(r"(?<!as )\b_Mapping\b", "_Mapping[str, object]", stub)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
