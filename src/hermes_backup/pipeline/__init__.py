"""The pipeline: its model, loading with positions, type check, executor, events."""
