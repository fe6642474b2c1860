"""The command `drasclr`."""
