"""Looking on: metrics, evaluation, pictures. No torch."""
