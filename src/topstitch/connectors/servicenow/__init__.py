"""ServiceNow, through its Table and Service Catalog APIs."""
