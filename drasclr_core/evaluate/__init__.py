"""What features tell of labels, survival and disease."""
