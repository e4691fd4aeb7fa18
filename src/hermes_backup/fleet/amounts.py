"""For those who are being moved to :mod:`hermes_backup.pipeline.amounts`."""

from hermes_backup.pipeline.amounts import harmless, show_seconds, show_size

__all__ = ["harmless", "show_seconds", "show_size"]
