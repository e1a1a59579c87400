"""Counterexamples as people see them: text, SVG, HTML."""
