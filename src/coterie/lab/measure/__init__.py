"""Round trips and disks, measured where the cluster is to stand: what `coterie lab measure` writes."""
