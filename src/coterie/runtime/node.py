"""`Node`: one member of a cluster, in the process that makes it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import socket
import time
from pathlib import Path
from types import TracebackType

import coterie
from coterie.core.errors import Effect
from coterie.core.types import Member
from coterie.engine.engine import Engine, Identity
from coterie.engine.protocol import PROTOCOL_VERSION, NodeStatus, ReadMode, Welcome
from coterie.engine.snapshots import NoState
from coterie.machine.interface import StateMachine
from coterie.machine.loading import load_machine, machine_name
from coterie.runtime.addresses import listen
from coterie.runtime.api import Api, MakeApi
from coterie.runtime.client_port import ClientPort
from coterie.runtime.configuration import NodeConfiguration
from coterie.runtime.disk import OpenDisk, Place
from coterie.runtime.errors import DirectoryCopied, NodeStopped, StartFailed
from coterie.runtime.first_start import agree_on_first_members, not_started, started_answer
from coterie.runtime.ground import NodeGround
from coterie.runtime.grpc.connection import GrpcConnection
from coterie.runtime.grpc.unknown import UnknownServices
from coterie.runtime.handshake import PeerIdentity
from coterie.runtime.http1.connection import HttpConnection
from coterie.runtime.http1.pages import Pages
from coterie.runtime.joining import check_endpoints, claim_place, find_place
from coterie.runtime.local_client import LocalClient
from coterie.runtime.log_lines import Lines
from coterie.runtime.node_loop import NodeLoop
from coterie.runtime.observation import Observation
from coterie.runtime.peer_port import PeerPort
from coterie.runtime.planting import check_machine
from coterie.runtime.sync_thread import SyncThread
from coterie.runtime.tls.dialling import Dial
from coterie.runtime.tls.node_tls import NodeTls
from coterie.runtime.tls.reloading import watch
from coterie.runtime.tls.serving import Server, serve
from coterie.runtime.transport import Transport
from coterie.runtime.work_threads import WorkThreads
from coterie.storage.log_store import LogStore


class Node:
    """A member of a cluster, embedded in this process.

    ::

        async with coterie.Node(config, machine=Bank()) as node:
            reply = await node.submit(b"...")

    Made and used in one event loop. Its log lines go to the logger `coterie`. If its disk fails, the
    process ends with code 70 (see `sync_thread`): nothing that it said afterwards could be trusted.
    """

    def __init__(
        self, config: NodeConfiguration, *, machine: StateMachine | None = None, api: MakeApi | None = None
    ) -> None:
        """`machine`: what the cluster replicates; if None, `config.machine` is loaded at the start. `api`: what is
        served beside the native protocol, for example `coterie.etcd.api:EtcdApi`."""
        self.config = config
        self._machine = machine
        self._make_api = api
        self._lines = Lines(config.name)
        self._rng = random.Random(secrets.randbits(128))
        self._open = contextlib.ExitStack()
        """What must be closed when the node ends, in reverse."""
        self._shell: NodeLoop | None = None
        self._local: LocalClient | None = None
        self._sync: SyncThread | None = None
        self._clients: ClientPort | None = None
        self._transport: Transport | None = None
        self._work: WorkThreads | None = None
        self.removed = ""
        """Why the node ended by itself, if it was removed from the cluster."""
        self._ending: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._running = False
        self._stopping = False
        self._failure: BaseException | None = None
        self._ended: asyncio.Event = asyncio.Event()
        self._servers: list[Server] = []
        self._tls: NodeTls

    async def __aenter__(self) -> Node:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    # Life

    async def start(self) -> None:
        """Bind the ports, open the data directory, agree with the other first members (first start only,
        which waits for all of them), and run.

        Raises `CoterieError`; then nothing of the node runs, and it is not to be used again.
        """
        try:
            await self._start()
        except BaseException:
            self._close()
            raise

    async def _start(self) -> None:
        config = self.config
        machine = self._machine if self._machine is not None else load_machine(config.machine)
        self._tls = tls = NodeTls(config, self._lines)
        peer_sockets = listen(config.peer_listen or config.peer, "for members")
        for listener in peer_sockets:
            self._open.callback(listener.close)
        client_sockets = listen(config.client_listen or config.client, "for clients")
        for listener in client_sockets:
            self._open.callback(listener.close)

        place: Place | None = None
        if config.join and OpenDisk.is_new(config):
            place = await find_place(config, self._lines, self._rng, tls.clients)
        disk = OpenDisk(config, place)
        self._open.callback(self._close_disk, disk)
        peers = PeerPort(self._lines, not_started)
        self._open.callback(peers.close)
        loop = asyncio.get_running_loop()
        if tls.sides:
            self._open.callback(loop.create_task(watch(tls.sides)).cancel)
        for listener in peer_sockets:
            self._serve(await serve(listener, peers.protocol, self._lines, tls.members))
        check_machine(disk.directory, machine)
        cluster = disk.cluster
        if cluster is None:
            own = Member(disk.member, config.name, config.peer, config.client)
            members = await agree_on_first_members(
                own,
                config.members,
                directory=disk.directory,
                port=peers,
                lines=self._lines,
                rng=self._rng,
                dial=Dial(tls.members),
            )
            cluster = disk.create_log(members)
        elif disk.directory.first_members:
            peers.answer_introduction = started_answer(
                disk.member, disk.directory.first_members, disk.directory.restored
            )
        log = disk.open_log(cluster)
        self._tell_notices(log)
        joined = not disk.claim or log.recovered.last_index > 0 or log.recovered.hard_state.repair is not None
        if not joined:
            own_place = Place(cluster, disk.member, disk.claim, disk.protocol)
            await claim_place(config, own_place, self._lines, self._rng, tls.clients)
        await self._begin(disk, log, cluster, machine, peers, client_sockets)
        if joined and config.join:
            self._checking = loop.create_task(self._check_endpoints(cluster))
            self._open.callback(self._checking.cancel)

    async def _begin(
        self,
        disk: OpenDisk,
        log: LogStore,
        cluster: int,
        machine: StateMachine,
        peers: PeerPort,
        client_sockets: list[socket.socket],
    ) -> None:
        """The disk is open and it is known who this member is: run."""
        config = self.config
        shell = self._shell = NodeLoop(lines=self._lines, on_failure=self._failed, on_removed=self._was_removed)
        self._open.callback(shell.end)
        engine, log = self._make_engine(disk, log, cluster, machine, shell)
        self._open.callback(self._close_host, engine)
        own_side = PeerIdentity(
            cluster=cluster,
            member=disk.member,
            name=config.name,
            boot=disk.boot,
            process=disk.starts[-1],
            protocol=disk.protocol,
            claim=disk.claim,
            address=config.peer,
            starts=disk.starts,
        )
        transport = Transport(
            own=own_side,
            limits=config.links(),
            lines=self._lines,
            rng=self._rng,
            on_closed=shell.connection_closed,
            on_expelled=shell.expelled,
            on_copied=self._was_copied,
            dial=Dial(self._tls.members),
        )
        self._open.callback(transport.close)
        self._transport = transport
        self._sync = SyncThread(
            store=log, lines=self._lines, where=config.data, on_stored=shell.stored, on_no_space=shell.store_failed
        )
        self._open.callback(self._sync.stop)
        self._work = WorkThreads(where=config.data, on_done=shell.worked)
        self._open.callback(self._work.stop)
        self._local = LocalClient(shell)
        self._open.callback(self._local.end)
        api: Api | None = None
        if self._make_api is not None:
            api = shell.api = self._make_api(
                NodeGround(engine, shell, self._local, self._tls.clients, Path(config.data))
            )
            self._open.callback(api.end)
        pages = Pages(self, api)
        services = api or UnknownServices()
        limits = config.grpc()
        self._clients = ClientPort(
            self._lines,
            config.clients(),
            shell,
            http=lambda source: HttpConnection(pages, self._lines, source),
            grpc=lambda port, source, who: GrpcConnection(port, services, limits, source, who),
        )
        self._open.callback(self._clients.close, at_once=True)
        welcome = Welcome(PROTOCOL_VERSION, cluster, disk.member, config.name, machine_name(machine))
        register = disk.register(self._lines)
        shell.begin(
            engine=engine,
            transport=transport,
            sync=self._sync,
            work=self._work,
            clients=self._clients,
            peers=peers,
            register=register,
            welcome=welcome,
        )
        peers.open(own_side, shell, disk.boots(self._lines), register, transport)
        for listener in client_sockets:
            self._serve(await serve(listener, self._clients.protocol, self._lines, self._tls.clients))
        self._running = True
        self._lines.info(
            "started",
            cluster=f"{cluster:016x}",
            member=f"{disk.member:016x}",
            boot=disk.boot,
            protocol=disk.protocol,
            peer=config.peer,
            client=config.client,
        )

    async def _check_endpoints(self, cluster: int) -> None:
        """Who gave the endpoints of another cluster meant another directory: the node ends."""
        try:
            await check_endpoints(self.config, cluster, self._lines, self._rng, self._tls.clients)
        except StartFailed as error:
            if self._running and not self._stopping:
                self._lines.error("other-cluster", text=error)
                self._failed(error)

    def _make_engine(
        self, disk: OpenDisk, log: LogStore, cluster: int, machine: StateMachine, shell: NodeLoop
    ) -> tuple[Engine, LogStore]:
        """The engine, and the log that it runs on: another one, if the state that this one begins after is lost."""
        config = self.config
        snapshots = disk.snapshots(cluster)
        for notice in snapshots.notices:
            self._lines.warning("snapshot-notice", text=notice)
        store = disk.open_store(machine)

        def make(log: LogStore) -> Engine:
            return Engine(
                identity=Identity(
                    cluster=cluster,
                    member=disk.member,
                    name=config.name,
                    boot=disk.boot,
                    version=coterie.__version__,
                    pid=os.getpid(),
                ),
                config=config.engine(),
                protocol=disk.protocol,
                recovered=log.recovered,
                reader=log,
                machine=machine,
                ports=shell,
                rng=self._rng,
                now=time.monotonic_ns(),
                store=store,
                snapshots=snapshots,
                log_bytes=log.bytes,
            )

        try:
            return make(log), log
        except NoState as lost:
            log = disk.begin_log_anew(cluster, lost)
            self._tell_notices(log)
            return make(log), log

    def _tell_notices(self, log: LogStore) -> None:
        for notice in log.notices:
            self._lines.warning("log-notice", text=notice)

    def _serve(self, server: Server) -> None:
        self._servers.append(server)
        self._open.callback(server.close)

    async def stop(self) -> None:
        """Take no more requests, wait (at most `stop_timeout_ms`) for those under way, write all to disk, end."""
        if not self._running or self._stopping:
            await self._wait_if_stopping()
            return
        self._stopping = True
        assert self._shell is not None
        assert self._sync is not None
        assert self._clients is not None
        self._lines.info("stopping")
        try:
            async with asyncio.timeout(self.config.election_timeout_ms / 1000):
                await self._shell.hand_over()
        except TimeoutError:
            self._lines.warning("still-leader", text="nobody took over in time; the others will elect a leader")
        for server in self._servers:
            server.close()
        self._clients.drain()
        self._shell.stop_requests()
        try:
            async with asyncio.timeout(self.config.stop_timeout_ms / 1000):
                await self._shell.quiet()
                await self._shell.flush_store()
                self._shell.end()
                await self._sync.drain()
                self._clients.close(at_once=False)
                await self._clients.empty()
        except TimeoutError:
            self._lines.warning("stop-timeout", waited_ms=self.config.stop_timeout_ms)
        self._close()
        self._lines.info("stopped")

    async def _wait_if_stopping(self) -> None:
        if self._stopping:
            await self._ended.wait()

    async def wait_ended(self) -> None:
        """Wait until the node has ended. Raises what ended it, if it was not `stop`."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def running(self) -> bool:
        """Started and not ended."""
        return self._running

    def _was_removed(self, reason: str) -> None:
        """The cluster has no more use for this member: say so, and end."""
        if not self._running or self._stopping or self.removed:
            return
        self.removed = (
            f"{reason}. Its data directory {self.config.data} is of no more use: to have the member again, add it anew "
            "and start it with an empty directory"
        )
        self._lines.warning("removed", text=self.removed)
        self._ending = asyncio.get_running_loop().create_task(self.stop())

    def _was_copied(self, reason: str) -> None:
        """Nothing that this node says can be trusted: it ends at once, and acknowledges nothing more."""
        if self._running and not self._stopping:
            self._lines.error("copied", text=reason)
            self._failed(
                DirectoryCopied(
                    f"another member refuses this one: {reason}",
                    effect=Effect.UNKNOWN,
                    advice=f"do not use the data directory {self.config.data} again, nor any copy of it",
                )
            )

    def _failed(self, error: BaseException) -> None:
        """The engine raised: the node ends at once and says nothing more; the disk stays as it is."""
        self._failure = error
        self._close()

    def _close_host(self, engine: Engine) -> None:
        """Close the machine's store, unless something may still use it."""
        if self._work is not None:
            self._work.stop()
            api = self._shell.api if self._shell is not None else None
            if self._work.ended and (api is None or api.idle):
                engine.host.close()

    def _close_disk(self, disk: OpenDisk) -> None:
        """Unlock the directory, unless a write into it may still be under way."""
        if (self._sync is None or self._sync.ended) and (self._work is None or self._work.ended):
            disk.close()

    def _close(self) -> None:
        self._running = False
        self._open.close()
        self._ended.set()

    # Requests

    async def submit(self, command: bytes) -> bytes:
        """Run a command on the replicated machine; its reply.

        Raises `RequestFailed` (see `code`, `effect`) and `NodeStopped`. Nothing is sent twice: if the
        effect is *unknown*, only the machine's state can tell.
        """
        return (await self._requests().submit(command)).body

    async def query(self, question: bytes, *, mode: ReadMode = ReadMode.LINEARIZABLE, at_least: int = 0) -> bytes:
        """Ask the machine a question; its answer. `at_least`: a revision that the state must have reached.

        Raises `RequestFailed` and `NodeStopped`; a query has no effect.
        """
        return (await self._requests().query(question, mode, at_least)).body

    def status(self) -> NodeStatus:
        """What this member says of itself. Raises `NodeStopped`."""
        self._requests()
        assert self._shell is not None
        return self._shell.engine.status()

    def observe(self) -> Observation:
        """What this member's metrics are made of. Raises `NodeStopped`."""
        status = self.status()
        assert self._shell is not None
        assert self._clients is not None
        assert self._transport is not None
        assert self._sync is not None
        return Observation(
            status=status,
            progress=self._shell.engine.replica.progress(time.monotonic_ns()),
            connected=self._transport.connected_members,
            leaders_seen=self._shell.leaders_seen,
            client_connections=self._clients.connections,
            writes=self._sync.times,
        )

    def _requests(self) -> LocalClient:
        if not self._running or self._local is None:
            raise NodeStopped("the node is not running", effect=Effect.NO, advice="start it, or ask another member")
        return self._local
