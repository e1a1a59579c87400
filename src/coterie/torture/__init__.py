"""Real clusters of real processes under real faults: see `docs/torture.md`."""
