"""What is fitted on features: the linear head, its calibration, familiarity."""
