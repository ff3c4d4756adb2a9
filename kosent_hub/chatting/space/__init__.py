"""A Space of the Hub with the chat's page: what is pushed there, and what runs there."""
