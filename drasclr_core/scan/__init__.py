"""One scan: reading, checks, resampling, lungs, densities."""
