"""How what an experiment found is shown: a page, tables, figures."""
