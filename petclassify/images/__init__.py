"""Photos in: finding them, reading them, drawing sample pets. No torch."""
