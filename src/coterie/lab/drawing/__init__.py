"""Drawings of a recording: for the terminal, for Markdown, for print. Each shows every message once."""
