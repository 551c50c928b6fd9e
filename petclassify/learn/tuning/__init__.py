"""Training open layers: the freezing schedule, the views, the fit loop."""
