"""People as judges: the pairs they meet, the page, their votes."""
