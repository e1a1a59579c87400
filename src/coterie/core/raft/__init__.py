"""Raft, one file per mechanism, named as Ongaro's dissertation names them.

"Raft 5.2" is a section of the paper (In Search of an Understandable Consensus Algorithm, extended
version); a bare "9.6" is one of the dissertation (Consensus: Bridging Theory and Practice).
"""
