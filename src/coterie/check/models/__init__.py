"""What each object does when its operations come one after the other: one file per object."""
