"""How histories are written down, and read back: docs/check.md has the formats."""
