"""The stages of a pipeline, one module each."""
