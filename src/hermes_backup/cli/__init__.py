"""The commands: one module a group; they print, ask and exit, and hold no logic."""
