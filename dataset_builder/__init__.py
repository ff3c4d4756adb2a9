"""AI Hub's emotional dialogues -> a chat dataset -> a Hub repository."""
