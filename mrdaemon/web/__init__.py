"""The daemon's local HTTP interface: a Unix socket that shows how everything stands and takes commands."""
