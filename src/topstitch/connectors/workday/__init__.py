"""Workday, through its REST API, report-as-a-service and hire notifications."""
