"""What a snapshot is: names, manifest, signatures, places, catalog, retention."""
