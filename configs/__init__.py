"""One ml_collections file per experiment, in a folder per package."""
