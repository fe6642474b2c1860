"""A picture of every scan, and their page."""
