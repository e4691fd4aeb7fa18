"""What all tests share."""

pytest_plugins = ["tests.keys", "tests.servers", "tests.site", "tests.coming"]
