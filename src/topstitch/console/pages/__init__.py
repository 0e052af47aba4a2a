"""The console's pages: one file per screen, each reads what it shows and renders a template."""
