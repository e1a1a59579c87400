"""Networks as files: sites, round trips, disks; those that ship, and those that were measured."""
