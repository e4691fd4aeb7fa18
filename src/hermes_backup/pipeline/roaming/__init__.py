"""A home that is brought to machines that come and go, and saved as long as they are there."""
