"""The page that shows a card as the Hub would."""
