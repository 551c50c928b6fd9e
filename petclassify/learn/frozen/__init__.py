"""Each photo once through the frozen backbone, on the fastest engine, into the cache."""
