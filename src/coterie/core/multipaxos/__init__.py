"""Multi-Paxos, one file per mechanism: "2.2" is a section of Lamport's "Paxos Made Simple" (2001)."""
