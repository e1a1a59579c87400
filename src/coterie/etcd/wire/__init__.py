"""etcd's messages as Python classes. Each module has those of the `.proto` file of its name."""
