"""Who takes part: the participants table, boxes, folds, exclusions."""
