"""Participants tables from the files of studies, and from folders of scans."""
