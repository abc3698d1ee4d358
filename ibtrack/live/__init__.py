"""The page of runs that go on: files are followed as they grow, and one page on this machine follows them."""
