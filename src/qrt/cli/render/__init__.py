"""Text that streams into a terminal: words whole, Markdown rendered, nothing drawn twice."""
