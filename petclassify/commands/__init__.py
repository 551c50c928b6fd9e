"""The commands: options -> config -> one call -> print."""
