"""Tables, pages and the report."""
