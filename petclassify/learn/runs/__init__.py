"""The run folder: its place, its files, its log of epochs."""
