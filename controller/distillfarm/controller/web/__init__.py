"""Read-only pages on the farm for people; no scripts, nothing fetched from elsewhere."""
