"""Consistency verdicts over histories. Imports nothing of the rest."""
