"""What the drawings have in common: which sort of message is which, and its colour.

The colours are Okabe and Ito's, which people with any common colour blindness can tell apart; and nothing is told by
colour alone: answers are broken lines, a lost message ends in a cross, each mark has a shape of its own.
"""

from __future__ import annotations

from enum import Enum

from coterie.lab.recording import CLIENT, Event, Kind


class Sort(Enum):
    """Sorts of messages."""

    ELECTION = "election"
    REPLICATION = "replication"
    READ = "read"
    CLIENTS = "client"


COLOURS = {Sort.ELECTION: "#0072B2", Sort.REPLICATION: "#000000", Sort.READ: "#009E73", Sort.CLIENTS: "#8A5A83"}
LOST_COLOUR = "#D55E00"

_REPLICATION = frozenset(
    {
        "Append",
        "AppendReply",
        "Accept",
        "Accepted",
        "Forward",
        "ForwardRefused",
        "InstallSnapshot",
        "InstallSnapshotReply",
        "Pull",
        "StateDigest",
        "Suffix",
    }
)
_READ = frozenset({"ReadIndex", "ReadIndexReply"})

MARKS = {
    Kind.DURABLE: "■",
    Kind.ROLE: "★",
    Kind.MEMBERSHIP: "◎",
    Kind.COMMIT: "✓",
    Kind.CRASH: "✖",
    Kind.RESTART: "▲",
    Kind.CLOSED: "⊘",
    Kind.CUT: "✂",
    Kind.HEAL: "∞",
    Kind.NOTE: "•",
    Kind.VIOLATION: "‼",
}
"""What stands on a lifeline for each event that is not a message."""

LEGEND = {
    Kind.DURABLE: "on disk now",
    Kind.ROLE: "another role",
    Kind.COMMIT: "committed, applied",
    Kind.MEMBERSHIP: "another membership",
    Kind.CRASH: "crash",
    Kind.RESTART: "restart",
    Kind.CLOSED: "connection closed",
    Kind.CUT: "link cut",
    Kind.HEAL: "link back",
    Kind.NOTE: "note",
    Kind.VIOLATION: "law broken",
}


def sort_of(sent: Event) -> Sort:
    """Which sort of message this is."""
    if CLIENT in (sent.source, sent.to):
        return Sort.CLIENTS
    if sent.type in _REPLICATION:
        return Sort.REPLICATION
    return Sort.READ if sent.type in _READ else Sort.ELECTION


def told(mark: Event) -> str:
    """What is told of an event that is not a message, without the member that it happened to."""
    if mark.kind is Kind.DURABLE:
        return f"on disk: {mark.text}"
    if mark.kind in (Kind.CUT, Kind.HEAL):
        return f"{mark.text}: {mark.source} and {mark.to}"
    return mark.text
