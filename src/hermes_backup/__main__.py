"""``python -m hermes_backup`` is ``hermes-backup``."""

from hermes_backup.cli.app import main

main()
