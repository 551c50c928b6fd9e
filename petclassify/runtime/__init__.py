"""Predictions out: the model file and all that runs it. No torch."""
