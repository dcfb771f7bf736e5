"""From rows to tables: columns, views, and one renderer a skin."""
