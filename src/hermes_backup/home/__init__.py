"""What a Hermes home is: layout, exclusions, databases."""
