"""Experiments with the protocols that ship: seen, not simulated for speed or scale (that is `sim/`)."""
