"""The model file in all its forms, and the gate that each must pass."""
