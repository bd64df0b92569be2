"""What Dagster's page shows of each artifact: numbers, tables, small charts, links."""
