"""What a member does that does not lead, the same in both protocols: patience, acknowledgements, snapshots, reads."""
