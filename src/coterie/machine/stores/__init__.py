"""Ordered stores: where a machine that is too large for memory keeps its data."""
