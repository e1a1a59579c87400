"""`coterie lab compare`: Raft, Multi-Paxos and the references, beside each other and beside theory."""
