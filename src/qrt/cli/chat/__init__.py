"""The interactive chat: its loop, its commands, and what it keeps."""
