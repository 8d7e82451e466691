"""The status page, live on this machine, with buttons."""
