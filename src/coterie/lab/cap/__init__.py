"""The CAP theorem, filled in by measurement: what each way to read and write gives up when the network is parted."""
