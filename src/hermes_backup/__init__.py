"""Declarative, encrypted, proven backups of Hermes Agent homes."""

APP = "hermes-backup"
"""What our folders are called: configuration, state, cache."""

__version__ = "0.1.0"
