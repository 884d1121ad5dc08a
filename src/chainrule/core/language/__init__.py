"""The language in which a person is spoken to: English, or Chinese from the catalogue in `zh/`. Files stay English."""
