"""From the results of a bench to tables, pictures and reports."""
