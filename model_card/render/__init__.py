"""Facts -> the text of a card: pure functions and the two templates."""
