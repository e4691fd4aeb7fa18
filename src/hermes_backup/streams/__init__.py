"""Bytes in flight: processes and coders joined by pipes, compression, gpg."""
