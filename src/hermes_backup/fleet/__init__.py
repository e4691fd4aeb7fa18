"""Many hosts through ansible-runner: inventories, plays, events into a live view."""
