"""etcd's auth: users, roles, permissions and tokens, as part of the replicated state.

A member checks a password or a token when a request comes; what the user may do is decided where the command is
applied, by the state that the log has made by then. So a right that was taken away is gone for every command behind
that in the log, whichever member took it in, and whatever that member knew.

What the member found out travels with the command (`protocol.Authorised`: the user, and the revision of auth at which
it was checked), and the machine believes it. So a client must never get such a wrapper through: see
`protocol.for_members_alone`.
"""
