"""Django's PostgreSQL backend that finds or starts the embedded server on first use."""
