"""Networks by name, their weights, their stages and layers."""
