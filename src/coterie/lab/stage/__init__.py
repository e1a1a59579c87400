"""Clusters of the shipped code, laid out on purpose: sites, distances, clients.

What is done to them is the experiment's script, and nothing happens by chance but the jitter of the network.
"""
