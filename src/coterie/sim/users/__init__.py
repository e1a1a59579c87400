"""A machine of one's own in the simulated world: see `coterie.sim.simulate`."""
