"""Declarative, encrypted, proven backups of Hermes Agent homes."""

__version__ = "0.1.0"
