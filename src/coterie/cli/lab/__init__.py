"""`coterie lab`: theorems as experiments, protocols compared, advice for a network. One file a command."""
