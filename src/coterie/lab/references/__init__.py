"""Stores that are there to be compared with, in the simulated world only: what each gives up is seen, not told.

They stand on the same ground as the shipped code (`lab.stage`), and speak the same client protocol, so that the clients
of an experiment and its histories are the same. `coterie.lab.references.catalogue` has them by name.
"""
