"""The resources of the API: one file for each area, thin over the office and the store."""
