"""The databases of a home: find them, copy them while they are in use, know what is in them and make it again."""
