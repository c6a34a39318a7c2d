"""Pictures made from records: what `bench figures` draws."""
