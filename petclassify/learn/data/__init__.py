"""Photos with labels: splits, folds, public sets."""
