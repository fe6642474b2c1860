"""The figures, one file per kind."""
