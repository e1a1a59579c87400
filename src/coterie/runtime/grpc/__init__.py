"""gRPC on the clients' port: the asyncio shell around `coterie.http2`."""
