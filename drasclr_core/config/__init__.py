"""The settings of a study, and what is checked before any job."""
