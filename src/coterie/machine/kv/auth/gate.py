"""What every command and question passes: who asks is made sure of, and what they may not do is refused.

With auth off all pass, wrapped or not. With auth on, one that comes without a user is refused.
"""

from __future__ import annotations

import msgspec

from coterie.machine.interface import Rejected
from coterie.machine.kv.auth.checking import KeysOfLease, refuse_command, refuse_question
from coterie.machine.kv.auth.protocol import Authorised, AuthorisedQuestion, TokenCommand
from coterie.machine.kv.auth.refusals import MEMBERS_ALONE, USER_EMPTY
from coterie.machine.kv.auth.store import AuthStore
from coterie.machine.kv.protocol import Command, Question, command_decoder, question_decoder

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
"""What msgspec raises for bytes that are not what they should be. Not RecursionError: that depends on
the stack, so answering it might differ from member to member; the protocol leaves no room for it."""


def admit(auth: AuthStore, keys_of: KeysOfLease, command: Command) -> Command | Rejected:
    """The command that is to run, freed of its wrapper; or why it is refused."""
    if not isinstance(command, Authorised):
        return USER_EMPTY if auth.enabled and not isinstance(command, TokenCommand) else command
    refused = auth.check_revision(command.user, command.auth_revision)
    if refused is not None:
        return refused
    try:
        inner = command_decoder.decode(command.command)
    except UNREADABLE as error:
        return Rejected(f"not a key-value command: {error}")
    if isinstance(inner, Authorised | TokenCommand):
        return MEMBERS_ALONE
    refused = refuse_command(auth, keys_of, command.user, inner) if auth.enabled else None
    return inner if refused is None else refused


def admit_question(auth: AuthStore, question: Question) -> Question | Rejected:
    """The question that is to be answered, freed of its wrapper; or why it is refused."""
    if not isinstance(question, AuthorisedQuestion):
        return USER_EMPTY if auth.enabled else question
    refused = auth.check_revision(question.user, question.auth_revision)
    if refused is not None:
        return refused
    try:
        inner = question_decoder.decode(question.question)
    except UNREADABLE as error:
        return Rejected(f"not a key-value question: {error}")
    if isinstance(inner, AuthorisedQuestion):
        return MEMBERS_ALONE
    refused = refuse_question(auth, question.user, inner) if auth.enabled else None
    return inner if refused is None else refused
