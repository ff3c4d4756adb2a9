"""Programs that make committed files."""
