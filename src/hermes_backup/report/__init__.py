"""What people and machines read afterwards: tables, pages, metrics."""
