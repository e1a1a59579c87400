"""Consistency models: what each demands, the smallest histories that tell them apart, and which Coterie gives."""
