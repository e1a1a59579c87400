"""PACELC: under partition availability or consistency, else latency or consistency (Abadi 2012); measured."""
