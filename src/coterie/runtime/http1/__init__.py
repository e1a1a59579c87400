"""HTTP/1.1 on the clients' port, for people, probes and scrapers. The protocol itself is `h11`'s."""
