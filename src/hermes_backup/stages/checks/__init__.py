"""What can be proven of an extracted home, one idea a module; the stage ``check`` puts them together."""
