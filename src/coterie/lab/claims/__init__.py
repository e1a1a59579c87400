"""What papers assert, tried on the code that ships: the source's figure, ours, and the verdict.

Most of it runs replicas alone, in virtual time (`ensemble.py`); what needs storage runs on the stage.
"""
